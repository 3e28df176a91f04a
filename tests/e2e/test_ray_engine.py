"""`aff index --engine ray` on a local Ray, into the real embedded engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aff_contracts.bundle import load_manifest
from aff_contracts.gallery_store.gallery_store import GalleryPoint
from aff_contracts.gallery_store.open_catalogue import open_catalogue
from aff_contracts.gallery_store.settings import StoreSettings
from aff_contracts.image_decoding import ImageLimits, decode_image
from gallery_indexer.gallery_encoder import GalleryEncoder
from tests.e2e.conftest import TINY_BUNDLE
from tests.support.plain_photograph import plain_png

pytestmark = pytest.mark.slow


def _index(directory: Path, source: str) -> Any:
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "aff_toolkit", "index", source, "--engine", "ray", "--bundle", str(TINY_BUNDLE)]
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


@pytest.mark.anyio
async def test_a_source_is_indexed_as_the_service_would_and_again_only_what_changed(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02d}.png").write_bytes(plain_png((6 * number, 200 - number, 90)))
    (tmp_path / "broken.png").write_bytes(b"text")
    rows = "".join(f"{number:02d}.png,{number}\n" for number in range(40))
    (tmp_path / "list.csv").write_text(f"path,number:int\n{rows}broken.png,1\nnone.png,2\n")

    first = _index(tmp_path, "list.csv")
    assert (first["indexed"], first["failed"]) == (40, 2)
    assert {name: problem["code"] for name, problem in first["failures"].items()} == {
        "broken.png": "image_unsupported",
        "none.png": "source_unusable",
    }
    assert "broken.png" in (tmp_path / "failures.csv").read_text()
    points = await _points(tmp_path / "gallery")
    encoder = GalleryEncoder.load(TINY_BUNDLE, load_manifest(TINY_BUNDLE), device="cpu")
    for number in (0, 17, 39):
        data = (tmp_path / f"{number:02d}.png").read_bytes()
        pixels = decode_image(data, ImageLimits(), min_side=encoder.decode_min_side).pixels
        point = points[f"{number:02d}.png"]
        np.testing.assert_allclose(point.embedding, encoder.encode([pixels])[0], atol=1e-4)
        assert point.record.payload == {"number": number}

    (tmp_path / "05.png").write_bytes(plain_png((1, 2, 3)))
    (tmp_path / "list.csv").write_text((tmp_path / "list.csv").read_text().replace("07.png,7", "07.png,70"))
    second = _index(tmp_path, "list.csv")
    assert (second["indexed"], second["updated"], second["duplicate"], second["failed"]) == (0, 2, 38, 2)
    assert (await _points(tmp_path / "gallery"))["07.png"].record.payload == {"number": 70}
