"""Back-pressure: how many requests with bodies, and how many bytes of them, a service holds at the same time."""

from __future__ import annotations

import math
import time
from collections import deque
from types import TracebackType
from typing import NoReturn, Self

from aff_shared.errors import ServiceOverloadedError

_REMEMBERED_REQUESTS = 32
_LONGEST_RETRY_S = 60


class ByteBudget:
    """The budget of a service: places for requests, and bytes for what they bring.

    Args:
        max_requests: Most requests that hold bytes at the same time.
        max_bytes: Most bytes that all of them hold; a request that is alone may hold more.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._requests = 0
        self._bytes = 0
        self._durations_s: deque[float] = deque(maxlen=_REMEMBERED_REQUESTS)

    @property
    def held_bytes(self) -> int:
        """Return the bytes of all requests."""
        return self._bytes

    def place(self) -> Place:
        """Return the place of a request, which holds nothing yet."""
        return Place(self)

    def take(self, size: int, *, beside: int | None) -> None:
        """Hold bytes, for `Place`.

        Args:
            size: How many.
            beside: Bytes that the same request holds already; None where it needs a place first.

        Raises:
            ServiceOverloadedError: There is no room for them now.
        """
        if beside is None and self._requests >= self._max_requests:
            self._refuse(f"{self._requests} requests are worked on, which is the limit")
        if self._bytes > (beside or 0) and self._bytes + size > self._max_bytes:
            self._refuse(f"{self._bytes} bytes of requests are worked on, and {self._max_bytes} are the limit")
        self._requests += beside is None
        self._bytes += size

    def release(self, size: int, held_s: float) -> None:
        """Give back a place and its bytes, for `Place`; the time it was held tells when to come back."""
        self._durations_s.append(held_s)
        self._requests -= 1
        self._bytes -= size

    def _refuse(self, reason: str) -> NoReturn:
        raise ServiceOverloadedError(reason, retry_after_s=self._retry_after_s())

    def _retry_after_s(self) -> int:
        """Estimate when half of what is held will be done, by how long the last requests took."""
        if not self._durations_s:
            return 1
        mean_s = sum(self._durations_s) / len(self._durations_s)
        return min(_LONGEST_RETRY_S, max(1, math.ceil(mean_s / 2)))


class Place:
    """What one request holds of the budget; a context that gives all of it back."""

    def __init__(self, admission: ByteBudget) -> None:
        self._admission = admission
        self._bytes: int | None = None
        self._since = 0.0

    def take(self, size: int) -> None:
        """Hold further bytes until the request is answered; the first ones take a place.

        Args:
            size: How many.

        Raises:
            ServiceOverloadedError: There is no room for them now.
        """
        self._admission.take(size, beside=self._bytes)
        if self._bytes is None:
            self._since = time.monotonic()
        self._bytes = (self._bytes or 0) + size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bytes is not None:
            self._admission.release(self._bytes, time.monotonic() - self._since)
