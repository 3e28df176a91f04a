"""The client installs and works with httpx and pydantic only."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT

IMPORT = """
import aff_client
with aff_client.SearchClient("http://127.0.0.1:1") as client:
    try:
        client.search_embedding([1.0, 0.0], "0" * 64)
    except aff_client.ServiceUnreachableError as error:
        print(error.code)
"""


@pytest.mark.slow
def test_the_client_installs_httpx_and_pydantic_only(tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    uv = [sys.executable, "-m", "uv", "-q"]
    subprocess.run([*uv, "venv", "--python", sys.executable, environment], check=True)
    pip, python = [*uv, "pip"], ["--python", environment]
    subprocess.run([*pip, "install", *python, "-c", "constraints.txt", "./shared", "./client"], cwd=ROOT, check=True)
    list_packages = [*pip, "list", *python, "--format", "json"]
    listed = subprocess.run(list_packages, capture_output=True, text=True, check=True).stdout
    names = {one["name"].replace("_", "-") for one in json.loads(listed)}
    of_httpx = {"httpx", "httpcore", "h11", "anyio", "certifi", "idna"}
    of_pydantic = {"pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions"}
    assert names == {"aff-client", "aff-shared", *of_httpx, *of_pydantic}
    shown = subprocess.run(
        [environment / "bin" / "python", "-c", IMPORT], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == ["service_unreachable"]
