"""The query service in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from aff_toolkit.free_ports import free_ports

_START_S = 60.0


@dataclass(frozen=True, slots=True)
class QueryService:
    """The running service.

    Attributes:
        port: That it listens on, of this machine.
        process: That it runs in.
        ready_s: Seconds from its start to its first good answer.
    """

    port: int
    process: subprocess.Popen[bytes]
    ready_s: float

    def status_mib(self, key: str) -> float:
        """Return a line of the kernel's account of its memory, in MiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        (kib,) = (int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
        return kib / 1024


@contextmanager
def running_query_service(bundle: Path, gallery: Path) -> Iterator[QueryService]:
    """Start the query service as the image does, and stop it at the end."""
    (port,) = free_ports(1)
    environment = {
        **os.environ,
        "AFF_QUERY_BUNDLE_PATH": str(bundle),
        "AFF_QUERY_PORT": str(port),
        "QDRANT_URL": "",
        "QDRANT_EDGE_PATH": str(gallery),
    }
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "query_api"], env=environment)
    try:
        while not _ready(port):
            if process.poll() is not None or time.perf_counter() - began > _START_S:
                raise RuntimeError("the query service did not start")
            time.sleep(0.01)
        yield QueryService(port, process, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (urllib.error.URLError, ConnectionError):
        return False
