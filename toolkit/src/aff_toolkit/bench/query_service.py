"""The query service in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType

from aff_toolkit.free_ports import free_ports

_START_S = 60.0


@dataclass(frozen=True, slots=True)
class QueryService:
    """The running service.

    Attributes:
        port: That it listens on, of this machine.
        gallery: Directory of its gallery.
        process: That it runs in.
        ready_s: Seconds from its start to its first good answer.
    """

    port: int
    gallery: Path
    process: subprocess.Popen[bytes]
    ready_s: float


@contextmanager
def running_query_service(
    bundle: Path, gallery: Path, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[QueryService]:
    """Start the query service as the image does, and stop it at the end; settings are environment variables."""
    (port,) = free_ports(1)
    environment = {
        **os.environ,
        "AFF_QUERY_BUNDLE_PATH": str(bundle),
        "AFF_QUERY_PORT": str(port),
        "QDRANT_URL": "",
        "QDRANT_EDGE_PATH": str(gallery),
        **settings,
    }
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "query_api"], env=environment)
    try:
        while not _ready(port):
            if process.poll() is not None or time.perf_counter() - began > _START_S:
                raise RuntimeError("the query service did not start")
            time.sleep(0.01)
        yield QueryService(port, gallery, process, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (urllib.error.URLError, ConnectionError):
        return False
