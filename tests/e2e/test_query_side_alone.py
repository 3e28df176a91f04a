"""The query side installs and imports without torch, from the hashes of its image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT


@pytest.mark.slow
def test_the_query_side_installs_without_torch(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
    locked = ["--require-hashes", "--no-deps", "-r", "services/query_api/requirements.lock"]
    subprocess.run([*pip, *locked], cwd=ROOT, check=True)
    ours = ["--no-deps", "--no-index", "--no-build-isolation", "./shared", "./services/query_api"]
    subprocess.run([*pip, *ours], cwd=ROOT, check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True)
    installed = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    names = {line.split("==")[0].split(" @")[0].lower() for line in installed.splitlines()}
    assert {"aff-query-api", "aff-shared", "onnxruntime"} <= names
    assert not names & {"torch", "torchvision", "timm", "transformers", "opencv-python-headless"}
    subprocess.run([python, "-c", "import query_api.app"], cwd=tmp_path, check=True)
