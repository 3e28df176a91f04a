"""Collects items of concurrent callers into batches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_Batch = list[tuple[_Item, asyncio.Future[_Result]]]

_AHEAD = 2  # batches in progress: one runs and the next one is ready


class DynamicBatcher(Generic[_Item, _Result]):
    """Passes submitted items to a worker in batches, in the order of submission.

    A batch starts when it is full or when no more items are expected. A smaller one also starts when its first item has
    waited for `wait_s` and the worker is idle. At most two batches are in progress; other items wait.

    Args:
        work: Returns the results of a batch, one per item; an error is raised for every item of the batch.
        size: Returns the largest number of items in a batch.
        wait_s: Longest wait of an idle worker for expected items, in seconds.
    """

    def __init__(
        self,
        work: Callable[[Sequence[_Item]], Awaitable[Sequence[_Result]]],
        *,
        size: Callable[[], int],
        wait_s: float,
    ) -> None:
        self._work = work
        self._size = size
        self._wait_s = wait_s
        self._submitted: deque[tuple[_Item, asyncio.Future[_Result]]] = deque()
        self._expected = 0
        self._changed = asyncio.Event()
        self._free = asyncio.Semaphore(_AHEAD)
        self._forming: asyncio.Task[None] | None = None
        self._working: set[asyncio.Task[None]] = set()

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Announce an item that may be submitted at the end of the context, so that a batch waits for it."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1
            self._changed.set()

    async def submit(self, item: _Item) -> _Result:
        """Return the result of an item; raises the error of its batch."""
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._submitted.append((item, future))
        self._changed.set()
        if self._forming is None or self._forming.done():
            self._forming = asyncio.create_task(self._form())
        return await future

    async def _form(self) -> None:
        while self._submitted:
            await self._free.acquire()
            await self._fill()
            batch = self._take()
            task = asyncio.create_task(self._work_on(batch))
            self._working.add(task)
            task.add_done_callback(self._worked)

    async def _fill(self) -> None:
        deadline = asyncio.get_running_loop().time() + self._wait_s
        while self._expected and len(self._submitted) < self._size():
            late = asyncio.get_running_loop().time() >= deadline
            if late and not self._working:
                return
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if late else deadline):
                    await self._changed.wait()

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        self._changed.set()

    def _take(self) -> _Batch[_Item, _Result]:
        """Take a batch, without cancelled items."""
        batch: _Batch[_Item, _Result] = []
        while self._submitted and len(batch) < self._size():
            item, future = self._submitted.popleft()
            if not future.done():
                batch.append((item, future))
        return batch

    async def _work_on(self, batch: _Batch[_Item, _Result]) -> None:
        waiting = [future for _, future in batch]
        try:
            results = await self._work([item for item, _ in batch]) if batch else []
            for future, result in zip(waiting, results, strict=True):
                if not future.done():
                    future.set_result(result)
        except BaseException as error:
            _fail(waiting, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._free.release()


def _fail(waiting: Sequence[asyncio.Future[_Result]], error: BaseException) -> None:
    """Raise an error for the callers; cancel them if the worker was closed."""
    for future in waiting:
        if isinstance(error, asyncio.CancelledError):
            future.cancel()
        elif not future.done():
            future.set_exception(error)
