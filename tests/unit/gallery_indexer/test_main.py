from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_missing_bundle_stops_the_process_with_a_clear_message(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "gallery_indexer"],
        env={**os.environ, "AFF_INDEX_BUNDLE_PATH": str(tmp_path), "AFF_INDEX_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode != 0
    assert f"no readable bundle.json in {tmp_path}" in process.stderr
