"""Measurements of processes: time, memory, descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict


def alternate(first: Callable[[], None], second: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Return the median seconds of each of two calls, which are warmed up once and then made in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for call, kept in zip((first, second), times, strict=True):
            started = time.perf_counter()
            call()
            if number:
                kept.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


_KIB_PER_MIB = 1024
_S_PER_MIN = 60


class Sample(BaseModel):
    """A process at a moment.

    Attributes:
        seconds: Since the watching began.
        resident_mb: Resident memory in MiB.
        anonymous_mb: What of it is not part of a file, in MiB.
        descriptors: Open ones.
        threads: Of the process.
    """

    model_config = ConfigDict(frozen=True)

    seconds: float
    resident_mb: float
    anonymous_mb: float
    descriptors: int
    threads: int


class ProcessOverTime(BaseModel):
    """A process from the end of the warm-up on; slopes are least squares of all samples.

    Attributes:
        pid: Of the process.
        resident_mb_per_min: Growth of the resident memory, in MiB.
        anonymous_mb_per_min: Growth of its anonymous part, in MiB.
        descriptors_per_min: Growth of the open descriptors.
        samples: At equal distances.
    """

    model_config = ConfigDict(frozen=True)

    pid: int
    resident_mb_per_min: float
    anonymous_mb_per_min: float
    descriptors_per_min: float
    samples: list[Sample]

    @classmethod
    def of_samples(cls, pid: int, samples: Sequence[Sample]) -> ProcessOverTime:
        """Sum up samples, of which there has to be one at least."""
        return cls(
            pid=pid,
            resident_mb_per_min=_slope_per_min(samples, [one.resident_mb for one in samples]),
            anonymous_mb_per_min=_slope_per_min(samples, [one.anonymous_mb for one in samples]),
            descriptors_per_min=_slope_per_min(samples, [float(one.descriptors) for one in samples]),
            samples=list(samples),
        )


def with_children(pids: Sequence[int]) -> list[int]:
    """Return processes of this machine, and the processes that they started and that still run."""
    found: list[int] = []
    for pid in pids:
        found.append(pid)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += with_children([int(child) for child in (task / "children").read_text().split()])
    return found


async def watch(pids: Sequence[int], *, every_s: float) -> dict[int, list[Sample]]:
    """Sample processes until this is cancelled; one that ends has no further samples."""
    found: dict[int, list[Sample]] = {pid: [] for pid in pids}
    began = time.perf_counter()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            for pid, samples in found.items():
                with contextlib.suppress(OSError):
                    samples.append(sample(pid, time.perf_counter() - began))
            await asyncio.sleep(every_s)
    return {pid: samples for pid, samples in found.items() if samples}


def sample(pid: int, seconds: float) -> Sample:
    """Ask the kernel about a process.

    Raises:
        OSError: It has ended, or belongs to somebody else.
    """
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    status = {key: value.split()[0] for key, _, value in lines if value.strip()}
    if "VmRSS" not in status:
        raise ProcessLookupError(pid)  # it has ended, and nobody has asked how
    return Sample(
        seconds=seconds,
        resident_mb=int(status["VmRSS"]) / _KIB_PER_MIB,
        anonymous_mb=int(status["RssAnon"]) / _KIB_PER_MIB,
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=int(status["Threads"]),
    )


def _slope_per_min(samples: Sequence[Sample], values: Sequence[float]) -> float:
    seconds = np.array([one.seconds for one in samples])
    spread = seconds - seconds.mean()
    square = float(spread @ spread)
    return _S_PER_MIN * float(spread @ np.array(values)) / square if square else 0.0


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
