"""Back-pressure: how many searches are worked on, and how many wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from aff_shared.errors import ServiceOverloadedError
from query_api.search.search_metrics import SearchMetrics

_RETRY_AFTER_S = 1


class SearchQueue:
    """Admits searches in the order in which they come, while there is room.

    What cannot be answered soon is refused at once: whoever waits longer than a person does holds up the others.

    Args:
        active: Searches that are worked on at the same time.
        waiting: Most searches that wait for that.
        max_wait_s: Longest wait.
        metrics: Learns of refusals.
    """

    def __init__(self, active: int, waiting: int, max_wait_s: float, metrics: SearchMetrics) -> None:
        self._active = asyncio.Semaphore(active)
        self._max_waiting = waiting
        self._max_wait_s = max_wait_s
        self._metrics = metrics
        self._waiting = 0

    def require_room(self) -> None:
        """Refuse a search that has not been read yet.

        Raises:
            ServiceOverloadedError: Too many searches wait for a place already.
        """
        if self._waiting >= self._max_waiting and self._active.locked():
            self._refuse(f"{self._waiting} searches wait already")

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place inside the context.

        Raises:
            ServiceOverloadedError: There is none, and too many searches wait for one already, or this one has.
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
            self._refuse(f"no turn came within {self._max_wait_s:g} s")
        finally:
            self._waiting -= 1

    def _refuse(self, reason: str) -> NoReturn:
        self._metrics.count_overload()
        raise ServiceOverloadedError(reason, retry_after_s=_RETRY_AFTER_S)
