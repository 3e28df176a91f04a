"""The query side installs and imports without torch, from the hashes of its image."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT


@pytest.mark.slow
def test_the_query_side_installs_without_torch(tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    uv = [sys.executable, "-m", "uv", "-q"]
    subprocess.run([*uv, "venv", "--python", sys.executable, environment], check=True)
    pip, python = [*uv, "pip"], ["--python", environment]
    locked = ["--require-hashes", "--no-deps", "-r", "services/query_api/requirements.lock"]
    subprocess.run([*pip, "install", *python, *locked], cwd=ROOT, check=True)
    ours = ["--no-deps", "--no-index", "--no-build-isolation", "./shared", "./services/query_api"]
    subprocess.run([*pip, "install", *python, *ours], cwd=ROOT, check=True)
    subprocess.run([*pip, "check", *python], check=True)
    list_packages = [*pip, "list", *python, "--format", "json"]
    listed = subprocess.run(list_packages, capture_output=True, text=True, check=True).stdout
    names = {one["name"].replace("_", "-") for one in json.loads(listed)}
    assert {"aff-query-api", "aff-shared", "onnxruntime"} <= names
    assert not names & {"torch", "torchvision", "timm", "transformers", "opencv-python-headless"}
    subprocess.run([environment / "bin" / "python", "-c", "import query_api.app"], cwd=tmp_path, check=True)
