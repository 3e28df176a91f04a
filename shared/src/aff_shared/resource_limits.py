"""Cores and memory that this process may use: what the machine has, less what control groups (v1 and v2) allow.

Also the default size limit of image files.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_IMAGE_BYTES = 32 * 1024 * 1024
"""Size of the largest image file by default."""

_ROOT = Path("/")


def usable_cores(root: Path = _ROOT) -> int:
    """Return how many cores this process can keep busy.

    Args:
        root: Directory that contains `proc` and `sys`.

    Returns:
        The cores it may run on, or its processor quota, rounded up, where that is less; at least 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [math.ceil(quota) for quota in _cpu_quotas(root)]
    return max(1, min([cores, *quotas]))


def usable_memory(root: Path = _ROOT) -> int:
    """Return how many bytes of memory this process may use.

    Args:
        root: Directory that contains `proc` and `sys`.

    Returns:
        The machine's memory, or the limit of its control group where that is less.
    """
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [
        int(text)
        for controller, name in (("", "memory.max"), ("memory", "memory.limit_in_bytes"))
        for text in _values(root, controller, name)
        if text.isdecimal()  # `max` means no limit
    ]
    return min([physical, *limits])


def _cpu_quotas(root: Path) -> Iterator[float]:
    """Yield the quotas of the groups around this process, in cores."""
    for text in _values(root, "", "cpu.max"):
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.isdecimal():
            yield int(quota) / int(period)
    periods = _values(root, "cpu", "cpu.cfs_period_us")
    for quota, period in zip(_values(root, "cpu", "cpu.cfs_quota_us"), periods, strict=False):
        if quota.isdecimal():  # -1 means no limit
            yield int(quota) / int(period)


def _values(root: Path, controller: str, name: str) -> Iterator[str]:
    """Yield the contents of a file in this process's control group and in its parents.

    Args:
        root: Directory that contains `proc` and `sys`.
        controller: Controller of version 1; empty for version 2.
        name: Name of the file.
    """
    for group in _groups(root, controller):
        try:
            yield (group / name).read_text().strip()
        except OSError:  # it is not visible in the container, or has no limits
            continue


def _groups(root: Path, controller: str) -> Iterator[Path]:
    mounted = root / "sys/fs/cgroup" / controller
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            own = Path(path.lstrip("/"))
            yield from (mounted / group for group in (own, *own.parents))


HEAP_VARIABLES = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "8388608",
    "MALLOC_MMAP_THRESHOLD_": "4194304",
}
"""glibc's environment variables: separate heaps for each thread keep the most that each of them ever needed, and
thresholds that grow with the allocations keep large blocks. With lower thresholds, the pixels of an ordinary photograph
would be returned to the system after each search; the page faults cost as much as its decoding
(docs/performance.md)."""

_PARAMETERS = {"MALLOC_ARENA_MAX": -8, "MALLOC_TRIM_THRESHOLD_": -1, "MALLOC_MMAP_THRESHOLD_": -3}  # malloc.h


def bound_heap() -> None:
    """Configure this process and its children to return freed memory; the environment takes precedence.

    glibc reads the variables when a process starts, so this one is configured by `mallopt`. Without glibc, nothing
    happens.
    """
    for name, value in HEAP_VARIABLES.items():
        os.environ.setdefault(name, value)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return
    for name, parameter in _PARAMETERS.items():
        if os.environ[name].isdecimal():
            mallopt(parameter, int(os.environ[name]))
