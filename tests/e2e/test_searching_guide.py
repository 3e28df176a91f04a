"""The Python of the guide to searching runs as it is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from aff_client.index_client import IndexerClient, Upload
from aff_shared.schemas.searching import PhotographOptions
from aff_toolkit.data.scenes import render_view
from aff_toolkit.local.local_service import LocalServices
from tests.e2e.conftest import ROOT
from tests.support.images import jpeg_bytes

GUIDE = (ROOT / "docs" / "searching.md").read_text()


def test_the_python_of_the_guide_runs(services: LocalServices, tmp_path: Path) -> None:
    data = [jpeg_bytes(render_view(60, view, size=(240, 320))) for view in range(3)]
    with IndexerClient(services.indexer_url) as indexer:
        indexer.index(
            [Upload(f"guide {view}", "x", one, {"city": "Paris" if view else "Rome"}) for view, one in enumerate(data)]
        )
    (tmp_path / "holiday.jpg").write_bytes(data[0])
    code, _ = re.findall(r"```python\n(.+?)```", GUIDE, re.S)
    run = [sys.executable, "-c", code.replace("http://localhost:8001", services.query_url)]
    lines = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines
    assert all("'city': 'Paris'" in line for line in lines)


def test_the_python_of_the_guide_to_the_indexers_client_runs(services: LocalServices, tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    for path in ("photographs/guide-1.jpg", "red.jpg"):
        (tmp_path / path).write_bytes(jpeg_bytes(render_view(61, 0, size=(240, 320))))
    _, code = re.findall(r"```python\n(.+?)```", GUIDE, re.S)
    given = (
        "import numpy as np\nfrom pathlib import Path\nfrom aff_client import SearchClient\n"
        "frame = np.eye(96, dtype=np.uint8)[:, :, None].repeat(3, 2) * 255\n"
    )
    code = code.replace("http://localhost:8001", services.query_url).replace(
        "http://localhost:8002", services.indexer_url
    )
    run = [sys.executable, "-c", given + code]
    shown = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == ["guide-1.jpg indexed None"]


def test_every_option_is_explained() -> None:
    assert [name for name in PhotographOptions.model_fields if f"| `{name}` |" not in GUIDE] == []
