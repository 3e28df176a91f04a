"""The query service in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from aff_benchmarks.bench.started_service import wait_until_ready
from aff_toolkit.local.free_ports import free_ports

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
    process = subprocess.Popen([sys.executable, "-m", "query_api"], env=environment)
    try:
        ready_s = wait_until_ready(process, f"http://127.0.0.1:{port}/readyz", within_s=_START_S)
        yield QueryService(port, gallery, process, ready_s)
    finally:
        process.terminate()
        process.wait()
