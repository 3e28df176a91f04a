"""Measurements of processes."""

from __future__ import annotations

import asyncio
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aff_benchmarks.bench.measuring import (
    ProcessOverTime,
    Sample,
    alternate,
    cpu_seconds,
    end_tree,
    resident_mib,
    sample,
    watch,
    with_children,
)

_BUSY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; held = bytearray(64 * 2**20); time.sleep(60)"])
while time.process_time() < 0.3:
    pass
print("ready", flush=True)
time.sleep(60)
"""


def test_slopes_are_least_squares() -> None:
    # A line of 3 MiB in 60 s, with errors of +1, -2, +1, which do not change the fit.
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


def test_samples_count_open_files_and_anonymous_memory(tmp_path: Path) -> None:
    before = sample(os.getpid(), 0.0)
    with (tmp_path / "file").open("wb"):
        held = mmap.mmap(-1, 64 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # malloc might reuse freed memory
        for place in range(0, len(held), mmap.PAGESIZE):
            held[place] = 1
        after = sample(os.getpid(), 0.0)
    assert after.descriptors == before.descriptors + 1
    assert after.anonymous_mb - before.anonymous_mb == pytest.approx(64, abs=4)
    assert before.anonymous_mb < before.resident_mb
    assert len(held) == 64 * 2**20


@pytest.mark.anyio
async def test_processes_are_watched_with_their_children_until_they_end() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sys; sys.stdin.read()'])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdin=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        while len(with_children([process.pid])) < 2:  # noqa: ASYNC110 - the process is not ours
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


def test_a_process_is_measured_and_ended_together_with_its_children() -> None:
    process = subprocess.Popen([sys.executable, "-c", _BUSY], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    until = time.monotonic() + 20
    while resident_mib(process.pid) < 64 and time.monotonic() < until:
        time.sleep(0.05)
    assert 64 < resident_mib(process.pid) < 200
    assert 0.3 <= cpu_seconds(process.pid) < 5
    _, child = with_children([process.pid])
    end_tree(process.pid)
    process.wait()
    process.stdout.close()
    assert with_children([process.pid]) == []
    assert cpu_seconds(process.pid) == 0
    assert resident_mib(child) == 0


def test_two_calls_are_timed_in_turn_after_a_warm_up() -> None:
    calls: list[str] = []
    alternate(lambda: calls.append("first"), lambda: calls.append("second"), rounds=2)
    assert calls == ["first", "second"] * 3
