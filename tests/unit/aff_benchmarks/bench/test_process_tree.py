"""A process and what it started are counted, and ended, together."""

from __future__ import annotations

import subprocess
import sys
import time

from aff_benchmarks.bench.measuring import cpu_seconds, end_tree, resident_mib, with_children

_BUSY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; held = bytearray(64 * 2**20); time.sleep(60)"])
while time.process_time() < 0.3:
    pass
print("ready", flush=True)
time.sleep(60)
"""


def test_a_tree_is_counted_and_ended() -> None:
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
    assert with_children([process.pid]) == [process.pid]
    assert cpu_seconds(child) == 0 or resident_mib(child) == 0
