"""`aff index --engine ray` on a local Ray, into the real embedded engine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aff_shared.bundles.bundle import load_manifest
from aff_shared.images.decoding import ImageLimits
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_catalogue import open_catalogue
from aff_shared.store.gallery_store import GalleryPoint, GalleryRecord
from aff_shared.store.settings import StoreSettings
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.indexing.photograph_preparation import PhotographPreparation
from tests.support.plain_photograph import plain_png
from tests.support.tiny_bundle import TINY_BUNDLE

pytestmark = pytest.mark.slow


def _index(directory: Path, source: str) -> Any:
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "aff_toolkit", "index", source, "--engine", "ray", "--bundle", str(TINY_BUNDLE)]
    command += ["--no-details"]  # the earlier run of these tests stored none
    environment = {**os.environ, "QDRANT_EDGE_PATH": str(directory / "gallery"), "QDRANT_URL": ""}
    done = subprocess.run(
        [*command, "--json"], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def _points(gallery: Path) -> dict[str, GalleryPoint]:
    catalogue = await open_catalogue(StoreSettings(url="", edge_path=gallery))
    (collection,) = await catalogue.collections()
    page = await (await catalogue.collection(collection.space)).scroll(limit=1000)
    await catalogue.close()
    return {point.record.item_id: point for point in page.points}


def _embedding(encoder: GalleryEncoder, data: bytes) -> NDArray[np.float32]:
    prepared = PhotographPreparation(ImageLimits(), encoder.preprocessings)(data, "photo")
    return encoder.encode_images([prepared.pixels])[0].embedding


async def _index_before(gallery: Path, space: EmbeddingSpace, images: dict[str, bytes], vector: Any) -> None:
    """Leave what an earlier run would have left."""
    catalogue = await open_catalogue(StoreSettings(url="", edge_path=gallery))
    await catalogue.create(space)
    points = []
    for number, (name, data) in enumerate(images.items()):
        digest = hashlib.sha256(data).hexdigest()
        record = GalleryRecord(name, digest, 32, 24, datetime.now(UTC), {"number": number}, ("compact_cnn",))
        points.append(GalleryPoint(record, vector))
    await (await catalogue.collection(space)).upsert(points)
    await catalogue.close()


@pytest.mark.anyio
async def test_a_source_is_indexed_as_the_service_would_and_only_what_is_new_or_changed(tmp_path: Path) -> None:
    images = {f"{number:02d}.png": plain_png((6 * number, 200 - number, 90)) for number in range(40)}
    for name, data in {**images, "broken.png": b"text"}.items():
        (tmp_path / name).write_bytes(data)
    rows = "".join(f"{name},{70 if number == 7 else number}\n" for number, name in enumerate(images))
    (tmp_path / "list.csv").write_text(f"path,number:int\n{rows}broken.png,1\nnone.png,2\n")
    manifest = load_manifest(TINY_BUNDLE)
    encoder = GalleryEncoder.load(TINY_BUNDLE, manifest, device="cpu")
    before = {name: images[name] for name in list(images)[:10]} | {"05.png": b"another content"}
    old = _embedding(encoder, plain_png((1, 2, 3)))
    await _index_before(tmp_path / "gallery", manifest.space, before, old)

    reported = _index(tmp_path, "list.csv")
    assert (reported["indexed"], reported["updated"], reported["duplicate"], reported["failed"]) == (30, 2, 8, 2)
    assert {name: problem["code"] for name, problem in reported["failures"].items()} == {
        "broken.png": "image_unsupported",
        "none.png": "photograph_unreadable",
    }
    assert "broken.png" in (tmp_path / "failures.csv").read_text()
    points = await _points(tmp_path / "gallery")
    assert points.keys() == images.keys()
    for name in ("05.png", "17.png", "39.png"):
        np.testing.assert_allclose(points[name].embedding, _embedding(encoder, images[name]), atol=1e-4)
        assert points[name].record.payload == {"number": int(name[:2])}
    for name in ("03.png", "07.png"):  # not embedded again
        np.testing.assert_allclose(points[name].embedding, old, atol=1e-6)
    assert points["07.png"].record.payload == {"number": 70}
