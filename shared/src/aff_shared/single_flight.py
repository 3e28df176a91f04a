"""One attempt for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class SingleFlight:
    """Makes an attempt; whoever asks while it is under way gets its outcome.

    With a lock instead, those who wait for a store that does not answer would fail one after the other, each a whole
    timeout later than the one before.

    Args:
        attempt: Makes it.
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
        await asyncio.shield(self._under_way)  # the others wait for it, too

    def renew(self) -> None:
        """Have the next who asks make an attempt of their own: one that is under way may have seen what is gone."""
        self._under_way = None

    def cancel(self) -> None:
        """Give up every attempt that is under way."""
        for task in self._tasks:
            task.cancel()

    def _notice(self, task: asyncio.Task[object]) -> None:
        """Take note of an error that all who asked have turned away from; else it would be reported as lost."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()
