"""Back-pressure: how many bytes of requests are worked on at the same time."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from aff_contracts.errors import ServiceOverloadedError
from gallery_indexer.index_metrics import IndexMetrics

_REMEMBERED_REQUESTS = 32
_LONGEST_RETRY_S = 60


class Admission:
    """Admits requests while their bodies fit into a number of bytes, before anything of a body is read.

    Args:
        max_queued_bytes: Bytes of all admitted requests; one that comes alone may be larger.
        largest_bytes: Taken for a body that does not announce its length.
        metrics: Learns of refusals.
    """

    def __init__(self, max_queued_bytes: int, *, largest_bytes: int, metrics: IndexMetrics) -> None:
        self._max_queued_bytes = max_queued_bytes
        self._largest_bytes = largest_bytes
        self._metrics = metrics
        self._held = 0
        self._speeds: deque[float] = deque(maxlen=_REMEMBERED_REQUESTS)

    @contextmanager
    def admit(self, announced_bytes: int | None, *, beside: int = 0) -> Iterator[None]:
        """Hold a request's bytes inside the context.

        Args:
            announced_bytes: Length of the body, None where it is not known.
            beside: Bytes that the same request holds already.

        Raises:
            ServiceOverloadedError: There is no room for it now.
        """
        size = self._largest_bytes if announced_bytes is None else announced_bytes
        if self._held > beside and self._held + size > self._max_queued_bytes:
            self._metrics.count_overload()
            raise ServiceOverloadedError(
                f"{self._held} bytes of requests are worked on, and {self._max_queued_bytes} are the limit",
                retry_after_s=self._retry_after_s(),
            )
        self._held += size
        started = time.monotonic()
        try:
            yield
        finally:
            self._speeds.append(self._held / max(time.monotonic() - started, 1e-3))
            self._held -= size

    def _retry_after_s(self) -> int:
        """Estimate when half of what is held will be done, by what the last requests took."""
        if not self._speeds:
            return 1
        bytes_per_s = sum(self._speeds) / len(self._speeds)
        return min(_LONGEST_RETRY_S, max(1, math.ceil(self._held / 2 / bytes_per_s)))
