"""`aff index` as a process: what Ctrl-C leaves, and how it resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from aff_client.index_client import IndexerClient
from aff_toolkit.local.local_service import LocalServices
from tests.support.plain_photograph import plain_png

PHOTOGRAPHS = 300


def test_an_interrupted_run_ends_in_order_and_the_same_command_resumes(tmp_path: Path, services: LocalServices) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for number in range(PHOTOGRAPHS):
        (photographs / f"{number:03d}.png").write_bytes(plain_png((number % 256, number // 256, 7)))
    with IndexerClient(services.indexer_url) as client:
        others = client.gallery().count
        command = [sys.executable, "-m", "aff_toolkit", "index", str(photographs), "--json", "--concurrency", "1"]
        where = {**os.environ, "AFF_INDEXER_URL": services.indexer_url}
        run = subprocess.Popen(command, cwd=tmp_path, env=where, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while client.gallery().count < others + 40:
            assert run.poll() is None, "ended before it was interrupted"
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        reported, complaint = run.communicate(timeout=60)
        assert run.returncode == 130, complaint.decode()
        interrupted = json.loads(reported)
        assert interrupted["interrupted"]
        assert interrupted["indexed"] == client.gallery().count - others < PHOTOGRAPHS
        again = subprocess.run(command, cwd=tmp_path, env=where, capture_output=True, check=True)
    finished = json.loads(again.stdout)
    assert (finished["duplicate"], finished["failed"]) == (interrupted["indexed"], 0)
    assert finished["indexed"] + finished["duplicate"] == finished["gallery_images"] - others == PHOTOGRAPHS
