"""The example in the documentation encodes with ONNX Runtime alone, and finds what the service finds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from aff_client.index_client import IndexerClient, Upload
from aff_client.search_client import SearchClient
from aff_toolkit.data.scenes import render_view
from aff_toolkit.local.local_service import LocalServices
from tests.e2e.conftest import ROOT
from tests.support.images import jpeg_bytes

EXAMPLE = ROOT / "docs" / "examples" / "search_from_a_device.py"


def test_the_example_finds_what_the_service_finds(services: LocalServices, tmp_path: Path) -> None:
    photographs = [jpeg_bytes(render_view(scene, 0, size=(240, 320))) for scene in range(40, 46)]
    with IndexerClient(services.indexer_url) as indexer:
        indexer.index([Upload(f"device {number}", "x", data, None) for number, data in enumerate(photographs)])
    file = tmp_path / "photo.jpg"
    file.write_bytes(jpeg_bytes(render_view(42, 1, size=(720, 960))))
    run = [sys.executable, str(EXAMPLE), str(file), services.query_url]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
    with SearchClient(services.query_url) as searcher:
        hits = searcher.search(file.read_bytes(), limit=5).hits
    assert len(lines) == 5
    # The service decodes to fewer pixels, so that embeddings differ in the third place.
    assert lines[0].split("  ")[1] == hits[0].id
    assert abs(float(lines[0].split()[0]) - hits[0].score) < 0.01


def test_it_is_short_and_imports_none_of_our_packages() -> None:
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) <= 30
    assert set(re.findall(r"^(?:import|from) (\w+)", text, re.M)) == {
        "json",
        "os",
        "sys",
        "urllib",
        "numpy",
        "onnxruntime",
        "PIL",
    }
