"""A service of another kind in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from aff_benchmarks.bench.process_tree import end_tree
from aff_benchmarks.bench.started_service import wait_until_ready
from aff_toolkit.local.free_ports import free_ports

_START_S = 300.0  # a large tower of random weights, and a collection of many vectors


@dataclass(frozen=True, slots=True)
class Baseline:
    """The running service.

    Attributes:
        port: That it listens on, of this machine.
        pid: Of the process that started all others of it.
    """

    port: int
    pid: int


@contextmanager
def running_baseline(name: str, arguments: Sequence[str]) -> Iterator[Baseline]:
    """Start a module of this package, wait until `GET /health` is answered, and end it afterwards.

    Args:
        name: Of the module.
        arguments: Of its command line, behind `--port`.

    Raises:
        RuntimeError: It ended, or did not get ready within five minutes.
    """
    (port,) = free_ports(1)
    command = [sys.executable, "-m", f"{__package__}.{name}", "--port", str(port), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until_ready(process, f"http://127.0.0.1:{port}/health", within_s=_START_S)
        yield Baseline(port, process.pid)
    finally:
        end_tree(process.pid)
        process.wait()
