"""What glibc's heap keeps after a burst, of the services' processes."""

from __future__ import annotations

import ctypes
import os
import sys

HEAP_VARIABLES = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "MALLOC_MMAP_THRESHOLD_": "65536",
}
"""glibc's names in the environment: a heap of its own for each thread keeps what any of them ever needed, and
thresholds that grow with what is asked for keep large blocks."""

_PARAMETERS = {"MALLOC_ARENA_MAX": -8, "MALLOC_TRIM_THRESHOLD_": -1, "MALLOC_MMAP_THRESHOLD_": -3}  # malloc.h


def bound_heap() -> None:
    """Have this process, and those that it starts, give memory back; what the environment says already stays.

    glibc reads the variables when a process starts, so this one asks for the same by `mallopt`. Without glibc, nothing
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
