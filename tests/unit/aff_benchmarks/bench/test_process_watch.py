"""What is seen of a process."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from aff_benchmarks.bench.measuring import ProcessOverTime, Sample, sample, watch, with_children


def test_slopes_are_those_of_the_least_squares() -> None:
    # 3 MiB in 60 s along a line, with errors of +1, -2, +1 that the line passes through the middle of.
    resident = [100 + 1, 101.5 - 2, 103 + 1]
    samples = [
        Sample(seconds=30.0 * i, resident_mb=mb, anonymous_mb=50.0, descriptors=10 + i, threads=4)
        for i, mb in enumerate(resident)
    ]
    found = ProcessOverTime.of_samples(1, samples)
    assert found.resident_mb_per_min == pytest.approx(3.0)
    assert found.anonymous_mb_per_min == 0
    assert found.descriptors_per_min == pytest.approx(2.0)


def test_one_sample_has_no_slope() -> None:
    assert ProcessOverTime.of_samples(1, [sample(os.getpid(), 0.0)]).resident_mb_per_min == 0


def test_an_open_file_is_a_descriptor_and_an_array_is_anonymous_memory(tmp_path: Path) -> None:
    before = sample(os.getpid(), 0.0)
    with (tmp_path / "file").open("wb"):
        # Above the largest array that malloc takes from memory which earlier tests have given back.
        held = bytearray(b"x") * (64 * 2**20)
        after = sample(os.getpid(), 0.0)
    assert after.descriptors == before.descriptors + 1
    assert after.anonymous_mb - before.anonymous_mb == pytest.approx(64, abs=4)
    assert before.anonymous_mb < before.resident_mb
    assert len(held) == 64 * 2**20


@pytest.mark.anyio
async def test_processes_are_watched_with_those_that_they_started_until_they_end() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sys; sys.stdin.read()'])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdin=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        while len(with_children([process.pid])) < 2:  # noqa: ASYNC110 - a test watches from outside
            await asyncio.sleep(0.02)
    watching = asyncio.create_task(watch([os.getpid(), *with_children([process.pid])], every_s=0.01))
    await asyncio.sleep(0.5)
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()
    await asyncio.sleep(0.5)
    watching.cancel()
    ours, *theirs = (await watching).values()
    assert len(theirs) == 2
    assert all(1 <= len(samples) < len(ours) for samples in theirs)
