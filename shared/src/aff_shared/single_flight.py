"""One attempt for all concurrent callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class SingleFlight:
    """Shares one running attempt among all concurrent callers.

    With a lock instead, callers that wait for a store that does not answer would fail one after the other, each a whole
    timeout later than the one before.

    Args:
        attempt: Coroutine function of one attempt.
    """

    def __init__(self, attempt: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._attempt = attempt
        self._under_way: asyncio.Task[object] | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    async def make(self) -> None:
        """Return once the attempt has succeeded; raises what it raises."""
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.create_task(self._attempt())
            self._tasks.add(self._under_way)
            self._under_way.add_done_callback(self._notice)
        await asyncio.shield(self._under_way)  # other callers wait for it, too

    def renew(self) -> None:
        """Start a new attempt with the next call: the running one may be based on old state."""
        self._under_way = None

    def cancel(self) -> None:
        """Cancel all running attempts."""
        for task in self._tasks:
            task.cancel()

    def _notice(self, task: asyncio.Task[object]) -> None:
        """Retrieve the error of an attempt without callers; otherwise asyncio would report it."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()
