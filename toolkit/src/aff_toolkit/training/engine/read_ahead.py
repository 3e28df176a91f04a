"""Reads what comes next while the caller works on what has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Place = TypeVar("_Place")
_Read = TypeVar("_Read")


def read_ahead(read: Callable[[_Place], _Read], places: Iterable[_Place], *, threads: int) -> Iterator[_Read]:
    """Give `read(place)` of every place in order; up to twice as many as there are threads wait read.

    Threads rather than processes: reading mapped files and pinning memory leave the interpreter free, and nothing has
    to be sent from one process to another, nor a process be started.

    Raises:
        Exception: What `read` raises, in its place.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="read-ahead") as readers:
        waiting: deque[Future[_Read]] = deque()
        try:
            for place in places:
                waiting.append(readers.submit(read, place))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
