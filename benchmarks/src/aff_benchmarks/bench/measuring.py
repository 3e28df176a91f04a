"""Measurements of calls and processes: time, memory, descriptors, threads."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil

from aff_benchmarks.records import FrozenModel

_MIB = 2**20
_S_PER_MIN = 60
_GRACE_S = 10.0


def median_seconds(call: Callable[[], object], rounds: int, *, warm_up: int = 1) -> float:
    """Return the median seconds of a call after a warm-up of some calls."""
    return statistics.median([_seconds(call) for _ in range(warm_up + rounds)][warm_up:])


def alternate(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Return the median seconds of two calls, made in turn after one warm-up, so that noise affects both alike."""
    pairs = [(_seconds(first), _seconds(second)) for _ in range(rounds + 1)][1:]
    return statistics.median(one for one, _ in pairs), statistics.median(other for _, other in pairs)


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


class Sample(FrozenModel):
    """A process at one moment.

    Attributes:
        seconds: Seconds since the first sample.
        resident_mb: Resident memory in MiB.
        anonymous_mb: Resident memory without pages of files, in MiB.
    """

    seconds: float
    resident_mb: float
    anonymous_mb: float
    descriptors: int
    threads: int


class ProcessOverTime(FrozenModel):
    """A process after the warm-up; slopes are least squares of all samples.

    Attributes:
        resident_mb_per_min: Growth of the resident memory, in MiB.
        anonymous_mb_per_min: Growth of its anonymous part, in MiB.
        descriptors_per_min: Growth of the number of open descriptors.
    """

    pid: int
    resident_mb_per_min: float
    anonymous_mb_per_min: float
    descriptors_per_min: float
    samples: list[Sample]

    @classmethod
    def of_samples(cls, pid: int, samples: Sequence[Sample]) -> ProcessOverTime:
        """Fit slopes to at least one sample."""
        return cls(
            pid=pid,
            resident_mb_per_min=_slope_per_min(samples, [one.resident_mb for one in samples]),
            anonymous_mb_per_min=_slope_per_min(samples, [one.anonymous_mb for one in samples]),
            descriptors_per_min=_slope_per_min(samples, [float(one.descriptors) for one in samples]),
            samples=list(samples),
        )


async def watch(pids: Sequence[int], *, every_s: float) -> dict[int, list[Sample]]:
    """Sample processes until cancelled, each until it ends; return the samples by process id."""
    found: dict[int, list[Sample]] = {pid: [] for pid in pids}
    began = time.perf_counter()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            for pid, samples in found.items():
                with contextlib.suppress(psutil.Error):
                    samples.append(sample(pid, time.perf_counter() - began))
            await asyncio.sleep(every_s)
    return {pid: samples for pid, samples in found.items() if samples}


def sample(pid: int, seconds: float) -> Sample:
    """Sample a process.

    Raises:
        psutil.Error: The process has ended, or belongs to another user.
    """
    process = psutil.Process(pid)
    memory = process.memory_info()
    if not memory.rss:
        raise psutil.ZombieProcess(pid)
    return Sample(
        seconds=seconds,
        resident_mb=memory.rss / _MIB,
        anonymous_mb=(memory.rss - memory.shared) / _MIB,
        descriptors=process.num_fds(),
        threads=process.num_threads(),
    )


def with_children(pids: Sequence[int]) -> list[int]:
    """Return the ids of processes and their descendants, without those that have ended."""
    return [process.pid for pid in pids for process in _tree(pid)]


def cpu_seconds(pid: int) -> float:
    """Return the processor seconds of a process and its descendants, including descendants that have ended."""
    seconds = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:4])  # user and system, own and of ended children
    return seconds


def resident_mib(pid: int, *, anonymous: bool = False) -> float:
    """Return the resident memory of a process and its descendants in MiB; shared pages count once.

    With `anonymous`, pages of files are left out.
    """
    line = "Pss_Anon:" if anonymous else "Pss:"
    kib = 0
    for one in with_children([pid]):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            kib += sum(int(found.split()[1]) for found in lines if found.startswith(line))
    return kib / 1024


def end_tree(pid: int) -> None:
    """Terminate a process and its descendants, and kill those that still run after ten seconds."""
    processes = _tree(pid)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    until = time.monotonic() + _GRACE_S
    while any(map(_runs, processes)) and time.monotonic() < until:
        time.sleep(0.02)
    for process in filter(_runs, processes):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def _slope_per_min(samples: Sequence[Sample], values: Sequence[float]) -> float:
    seconds = np.array([one.seconds for one in samples])
    spread = seconds - seconds.mean()
    square = float(spread @ spread)
    return _S_PER_MIN * float(spread @ np.array(values)) / square if square else 0.0
