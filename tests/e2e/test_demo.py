"""The demo with the bundle of the tests, which was trained on procedural landmarks alone: it finds them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.e2e.conftest import ROOT
from tests.support.tiny_bundle import TINY_BUNDLE


def test_the_demo_finds_most_landmarks_at_the_first_rank(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aff_toolkit", "demo", "--bundle", str(TINY_BUNDLE), "--json"]
    command += ["--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert report["gallery_images"] >= 300
    assert report["instances"] >= 60
    assert report["queries"] >= 60
    assert report["recall_at_1"] >= 0.7
    assert report["recall_at_10"] >= report["recall_at_1"]
    assert report["store"] == "qdrant_edge"
    with Image.open(tmp_path / "results.png") as picture:
        assert min(picture.size) > 600
