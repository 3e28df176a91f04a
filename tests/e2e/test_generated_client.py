"""Clients that generators make from the committed OpenAPI documents, used on real services."""

from __future__ import annotations

import base64
import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aff_benchmarks.bench.services import running_query_service
from aff_benchmarks.bench.synthetic_gallery import write_gallery
from aff_shared.bundles.bundle import load_manifest
from aff_shared.store.settings import StoreSettings
from aff_toolkit.data.scenes import render_view
from aff_toolkit.local.local_service import LocalServices
from tests.support.images import jpeg_bytes
from tests.support.plain_photograph import plain_png
from tests.support.tiny_bundle import TINY_BUNDLE

ROOT = Path(__file__).parents[2]
TYPESCRIPT = Path(__file__).parent / "typescript"
NODE_MODULES = ROOT / "services" / "query_api" / "web" / "node_modules"
GENERATOR = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]

Load = Callable[[str], Any]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    gallery = tmp_path_factory.mktemp("generated-client") / "gallery"
    write_gallery(StoreSettings(url="", edge_path=gallery), load_manifest(TINY_BUNDLE).space, 20)
    with running_query_service(TINY_BUNDLE, gallery) as service:
        yield f"http://127.0.0.1:{service.port}"


@pytest.fixture
def generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Load]]:
    """Generates the client of a service, and returns what loads its modules; they are forgotten afterwards."""

    def generate(service: str) -> Load:
        document = ROOT / "docs" / "openapi" / f"{service}.json"
        target = tmp_path / f"generated_{service}"
        subprocess.run([*GENERATOR, "--path", str(document), "--output-path", str(target)], check=True)
        return lambda module: importlib.import_module(f"{target.name}.{module}")

    monkeypatch.syspath_prepend(tmp_path)
    yield generate
    for module in [module for module in sys.modules if module.startswith("generated_")]:
        del sys.modules[module]


def test_a_generated_client_searches(url: str, generate: Callable[[str], Load]) -> None:
    load = generate("query_api")
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


def test_a_generated_client_indexes(services: LocalServices, generate: Callable[[str], Load]) -> None:
    load = generate("gallery_indexer")
    models, File = load("models"), load("types").File
    red, green = plain_png((201, 1, 1)), plain_png((1, 201, 1))
    items = [{"id": "py/red", "payload": {"colour": "red"}}, {"id": "py/green", "payload": {"colour": "green"}}]

    def call(operation: str, *arguments: Any, **options: Any) -> Any:
        return load(f"api.gallery.{operation}").sync(*arguments, client=client, **options)

    with load("client").Client(base_url=services.indexer_url) as client:
        form = models.IndexImagesFilesBody(
            images=[File(BytesIO(red), "red.png", "image/png"), File(BytesIO(green), "green.png", "image/png")],
            items=[models.IndexImagesFilesBodyIndexItem.from_dict(item) for item in items],
        )
        indexed = call("index_images", body=form)
        listed = {"images": [{**items[0], "image": base64.b64encode(red).decode()}]}
        again = call("index_images", body=models.IndexImagesJsonBody.from_dict(listed))
        known = call("lookup_images", body=models.LookupRequest.from_dict({"images": [{"id": "py/red"}]}))
        patch = models.ChangePayloadByIdJsonPayloadPatch.from_dict({"colour": "lime"})
        patched = call("change_payload_by_id", id="py/green", body=patch)
        found = call("get_image", "py/green")
        deleted = call("delete_image_by_id", id="py/green")
        emptied = call("delete_images", body=models.DeleteRequest.from_dict({"ids": ["py/red", "py/green"]}))
        gallery = call("get_gallery")
        missing = call("get_image_by_id", id="py/green")
    assert [receipt.id for receipt in indexed.receipts] == ["py/red", "py/green"]
    assert (indexed.indexed, again.duplicate, known.up_to_date) == (2, 1, ["py/red"])
    assert patched.payload.to_dict() == found.payload.to_dict() == {"colour": "lime"}
    assert (deleted.deleted, emptied.deleted) == (True, 1)
    assert [collection.live for collection in gallery.collections] == [True]
    assert missing.code == "image_not_found"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not (NODE_MODULES / "openapi-fetch").is_dir(), reason="`make web` was not run")
def test_a_generated_typescript_client_indexes_and_searches(services: LocalServices, tmp_path: Path) -> None:
    for source in TYPESCRIPT.iterdir():
        shutil.copy(source, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)

    def run(*command: str) -> None:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    for service in ("gallery_indexer", "query_api"):
        run("node", "generate.mjs", str(ROOT / "docs" / "openapi" / f"{service}.json"), f"{service}.d.ts")
    run("node", "node_modules/typescript/bin/tsc", "-p", "tsconfig.json")
    photographs = [base64.b64encode(plain_png(colour)).decode() for colour in ((200, 0, 0), (0, 200, 0))]
    run("node", "client.js", services.indexer_url, services.query_url, *photographs)
