"""A client that a generator makes from the committed OpenAPI document searches a real service."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aff_contracts.bundle import load_manifest
from aff_contracts.gallery_store.settings import StoreSettings
from aff_toolkit.bench.query_service import running_query_service
from aff_toolkit.bench.synthetic_gallery import write_gallery
from aff_toolkit.scenes.view import render_view
from tests.support.images import jpeg_bytes
from tests.support.tiny_bundle import TINY_BUNDLE

ROOT = Path(__file__).parents[2]
GENERATOR = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    gallery = tmp_path_factory.mktemp("generated-client") / "gallery"
    write_gallery(StoreSettings(url="", edge_path=gallery), load_manifest(TINY_BUNDLE).space, 20)
    with running_query_service(TINY_BUNDLE, gallery) as service:
        yield f"http://127.0.0.1:{service.port}"


@pytest.fixture
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the package that was generated; it is forgotten afterwards."""
    name = "generated_query_client"
    document = ROOT / "docs" / "openapi" / "query_api.json"
    subprocess.run([*GENERATOR, "--path", str(document), "--output-path", str(tmp_path / name)], check=True)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def test_a_generated_client_searches(url: str, generated: str) -> None:
    def load(module: str) -> Any:
        return importlib.import_module(f"{generated}.{module}")

    models, File = load("models"), load("types").File
    photograph = jpeg_bytes(render_view(0, 0, size=(240, 320)))
    with load("client").Client(base_url=url) as client:
        raw = load("api.search.search").sync(
            client=client, body=File(BytesIO(photograph)), limit=3, with_embedding=True
        )
        form = load("api.search.search").sync(
            client=client,
            body=models.SearchFilesBody(image=[File(BytesIO(photograph), "a.jpg", "image/jpeg")], limit=3, expand=0),
        )
        encoder = load("api.encoder.get_encoder").sync(client=client)
        sent = models.EmbeddingSearch(embedding=raw.embedding, fingerprint=encoder.fingerprint, limit=3)
        embedding = load("api.search.search_embedding").sync(client=client, body=sent)
        similar = load("api.search.search_similar").sync(raw.hits[0].id, client=client, limit=2)
        refused = load("api.search.search").sync(client=client, body=File(BytesIO(b"no image")))
    assert np.linalg.norm(raw.embedding) == pytest.approx(1, abs=1e-5)
    ids = [hit.id for hit in raw.hits]
    assert len(ids) == 3
    assert ids == [hit.id for hit in form.hits] == [hit.id for hit in embedding.hits]
    assert raw.hits[0].id not in [hit.id for hit in similar.hits]
    assert refused.code == "image_unsupported"
