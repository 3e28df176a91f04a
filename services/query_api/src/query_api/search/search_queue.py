"""Queue of searches, with limits on active and waiting ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from aff_shared.errors import ServiceOverloadedError
from query_api.search.search_metrics import SearchMetrics

_RETRY_AFTER_S = 1


class SearchQueue:
    """Limits concurrent searches, and admits them in the order of their arrival.

    A search that cannot be answered soon is rejected immediately: one that waits too long delays the others.

    Args:
        active: Maximum number of concurrent searches.
        waiting: Maximum number of waiting searches.
        max_wait_s: Maximum wait, in seconds.
        metrics: Counts rejections.
    """

    def __init__(self, active: int, waiting: int, max_wait_s: float, metrics: SearchMetrics) -> None:
        self._active = asyncio.Semaphore(active)
        self._max_waiting = waiting
        self._max_wait_s = max_wait_s
        self._metrics = metrics
        self._waiting = 0

    def require_room(self) -> None:
        """Raise if a search cannot be admitted, before its body is read.

        Raises:
            ServiceOverloadedError: Too many searches are waiting.
        """
        if self._waiting >= self._max_waiting and self._active.locked():
            self._reject(f"{self._waiting} searches are waiting")

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place inside the context.

        Raises:
            ServiceOverloadedError: Too many searches are waiting, or this one waited too long.
        """
        if self._active.locked():
            await self._wait()
        else:
            await self._active.acquire()
        try:
            with self._metrics.active():
                yield
        finally:
            self._active.release()

    async def _wait(self) -> None:
        self.require_room()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._max_wait_s):
                with self._metrics.waiting():
                    await self._active.acquire()
        except TimeoutError:
            self._reject(f"the search waited longer than {self._max_wait_s:g} s")
        finally:
            self._waiting -= 1

    def _reject(self, reason: str) -> NoReturn:
        self._metrics.count_overload()
        raise ServiceOverloadedError(reason, retry_after_s=_RETRY_AFTER_S)
