"""What a process and all that it started have used, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from aff_benchmarks.bench.process_watch import with_children

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_GRACE_S = 10.0
_STATE, _TIMES = 0, slice(11, 15)  # of /proc/PID/stat, behind the name; utime, stime, and those of ended children


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its descendants so far, in seconds, those that ended included."""
    return sum(sum(map(int, _stat(one)[_TIMES])) for one in with_children([pid])) / _TICKS_PER_S


def resident_mib(pid: int, *, anonymous: bool = False) -> float:
    """Return the resident memory of a process and its descendants in MiB; what several share counts once.

    Args:
        pid: Of the process.
        anonymous: Only what is no part of a file.
    """
    line = "Pss_Anon:" if anonymous else "Pss:"
    kib = 0
    for one in with_children([pid]):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            kib += sum(int(found.split()[1]) for found in lines if found.startswith(line))
    return kib / 1024


def end_tree(pid: int) -> None:
    """Ask a process and its descendants to end, and kill those that have not after ten seconds."""
    pids = with_children([pid])
    _send(pids, signal.SIGTERM)
    until = time.monotonic() + _GRACE_S
    while any(map(_runs, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    _send([one for one in pids if _runs(one)], signal.SIGKILL)


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _runs(pid: int) -> bool:
    return _stat(pid)[_STATE] not in "ZX"


def _stat(pid: int) -> list[str]:
    """Return the kernel's account of a process behind its name; of one that has ended, that of a dead one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["X", *("0" for _ in range(_TIMES.stop))]
