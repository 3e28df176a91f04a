"""Runs many random cases, and notices what a single one would not show: growth of memory, and of open files.

Cases come from plain seeded generators: hypothesis keeps a tree of all that it has drawn, and a leak would hide behind
it.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

SHORT_RUN = 300
SLOWEST_S = 20.0
PEAK_MIB = 256
GROWTH_MIB = 48
_KIB = 1024

Case = Callable[[Random], str]


def run_cases(name: str, share: float, case: Case) -> Counter[str]:
    """Run a case with one seed after the other, and print a line about the run.

    Args:
        name: Name of the run; a part of the seeds.
        share: Part of the FUZZ_CASES of the environment, which are 300 unless set.
        case: Returns the outcome in a word or two; whatever it raises is a failure.
    """
    total, first = os.environ.get("FUZZ_CASES"), int(os.environ.get("FUZZ_FIRST", "0"))
    count = SHORT_RUN if total is None else max(1, round(share * int(total)))
    outcomes: Counter[str] = Counter()
    began, slowest_s = time.perf_counter(), 0.0
    _forget_peak()
    before_mib = start_mib = resident_mib()
    before = descriptors()
    for number in range(first, first + count):
        started = time.process_time()
        try:
            outcomes[case(Random(f"{name} {number}"))] += 1
            took_s = time.process_time() - started
            slowest_s = max(slowest_s, took_s)
            assert took_s < SLOWEST_S, f"it took {took_s:.0f} s of a processor"
            assert _peak_mib() - before_mib < PEAK_MIB, f"it took {_peak_mib() - before_mib:.0f} MiB"
        except BaseException as error:
            error.add_note(f"case {number} of {name}: FUZZ_FIRST={number} FUZZ_CASES=1 runs it alone")
            raise
        if number == first + count // 4:
            start_mib = resident_mib()  # caches are full by now
    sys.stdout.write(
        f"{name}: {count} cases in {time.perf_counter() - began:.0f} s, the slowest {slowest_s:.2f} s; "
        f"{', '.join(f'{count} {outcome}' for outcome, count in outcomes.most_common())}; memory {before_mib:.0f}, "
        f"{start_mib:.0f} after a quarter, {resident_mib():.0f} MiB at the end, at most {_peak_mib():.0f}; "
        f"{before} descriptors, then {descriptors()}\n"
    )
    assert resident_mib() - start_mib < GROWTH_MIB
    assert descriptors() - before < 8
    return outcomes


def resident_mib() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / _KIB**2


def descriptors() -> int:
    """Open descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB
