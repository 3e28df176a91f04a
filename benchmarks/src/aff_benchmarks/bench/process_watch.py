"""What processes hold over time: memory, open files, threads."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

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
