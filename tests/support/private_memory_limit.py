"""A limit on the memory that a process may take from now on."""

from __future__ import annotations

import resource
from pathlib import Path


def limit_private_memory(further_bytes: int) -> None:
    """Limit the further writable memory of the process; mapped files that are only read do not count."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    taken_kb = next(int(line.split()[1]) for line in lines if line.startswith("VmData:"))
    limit = taken_kb * 1024 + further_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
