from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from aff_shared.store.embedded.directory import EdgeDirectory
from tests.support.query_service import QueryService


def _run(bundle: Path, gallery: Path) -> subprocess.CompletedProcess[str]:
    settings = {"AFF_QUERY_BUNDLE_PATH": str(bundle), "AFF_QUERY_PORT": "0", "QDRANT_EDGE_PATH": str(gallery)}
    return subprocess.run(
        [sys.executable, "-m", "query_api"],
        env={**os.environ, "QDRANT_URL": "", **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_bundle_stops_the_process_with_clear_words(tmp_path: Path) -> None:
    process = _run(tmp_path, tmp_path / "gallery")
    assert process.returncode == 1
    assert f"no readable bundle.json in {tmp_path}" in process.stderr
    assert "Traceback" not in process.stderr


def test_a_locked_gallery_directory_ends_the_process_with_a_remedy(tmp_path: Path, service: QueryService) -> None:
    with closing(EdgeDirectory(tmp_path / "gallery")):
        process = _run(service.settings.bundle_path, tmp_path / "gallery")
    assert process.returncode == 1
    assert "`aff serve`" in process.stderr
    assert "QDRANT_URL" in process.stderr
