"""Prepares photographs beside the encoder: in threads, or in processes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from aff_contracts.errors import ImageError
from gallery_indexer.child_process import end_with_parent, process_context
from gallery_indexer.photograph_preparation import PhotographPreparation, PreparedPhotograph
from gallery_indexer.pixel_arena import PixelArena, PixelReference

_logger = logging.getLogger(__name__)
_Stored = tuple[PreparedPhotograph, PixelReference]


@dataclass(slots=True)
class _Slot:
    """A slot of the arena, and what writes to it."""

    number: int
    writing: Future[_Stored] | None = None


class PreparationPool:
    """Workers that decode photographs and bring them to the input sizes.

    They are processes where the pixels go to an arena, from which an encoder in another process takes them; else they
    are threads. A photograph on which a worker process dies is the only one that suffers.

    Args:
        preparation: What they do.
        workers: Their number.
        arena: Where the pixels go.
    """

    def __init__(self, preparation: PhotographPreparation, workers: int, arena: PixelArena | None = None) -> None:
        self._preparation = preparation
        self._workers = workers
        self._arena = arena
        self._pool = self._open(workers)
        self._alone = asyncio.Lock()
        self._slots: asyncio.LifoQueue[int] = asyncio.LifoQueue()
        for slot in reversed(range(0 if arena is None else arena.slots)):
            self._slots.put_nowait(slot)

    @asynccontextmanager
    async def prepared(self, data: bytes, name: str) -> AsyncIterator[PreparedPhotograph]:
        """Prepare an image file; the pixels are there as long as the context.

        Raises:
            ImageError: One of its subclasses says what is wrong with the image.
        """
        if self._arena is None:
            yield await asyncio.wrap_future(self._pool.submit(self._preparation, data, name))
            return
        slot = _Slot(await self._slots.get())
        try:
            prepared, reference = await self._prepared(slot, data, name)
            yield replace(prepared, image=self._arena.image(reference))
        finally:
            self._free(slot)

    def close(self) -> None:
        """End the workers; what waits for them is cancelled."""
        self._pool.shutdown(cancel_futures=True)

    async def _prepared(self, slot: _Slot, data: bytes, name: str) -> _Stored:
        pool = self._pool
        try:
            return await self._written(pool, slot, data, name)
        except BrokenProcessPool:
            if self._pool is pool:
                _logger.warning("a process that prepares photographs died; others take its place")
                self._pool = self._open(self._workers)
        async with self._alone:  # in a process of its own, so that its death tells which photograph was at fault
            pool = self._open(1)
            try:
                return await self._written(pool, slot, data, name)
            except BrokenProcessPool as error:
                raise ImageError("the decoder crashes on this image", item=name) from error
            finally:
                pool.shutdown(wait=False)

    async def _written(self, pool: Executor, slot: _Slot, data: bytes, name: str) -> _Stored:
        slot.writing = pool.submit(_prepare, slot.number, data, name)
        return await asyncio.wrap_future(slot.writing)

    def _free(self, slot: _Slot) -> None:
        """Give a slot back, once no process writes to it any more: its caller may have gone away before that."""
        loop = asyncio.get_running_loop()
        if slot.writing is None or slot.writing.done():
            self._slots.put_nowait(slot.number)
        else:
            slot.writing.add_done_callback(lambda _: loop.call_soon_threadsafe(self._slots.put_nowait, slot.number))

    def _open(self, workers: int) -> Executor:
        if self._arena is None:
            return ThreadPoolExecutor(workers, thread_name_prefix="prepare")
        return ProcessPoolExecutor(
            workers, process_context(), initializer=_begin, initargs=(self._preparation, self._arena)
        )


_worker: tuple[PhotographPreparation, PixelArena] | None = None


def _begin(preparation: PhotographPreparation, arena: PixelArena) -> None:
    global _worker  # noqa: PLW0603 - a process is one worker
    _worker = preparation, arena
    end_with_parent()


def _prepare(slot: int, data: bytes, name: str) -> _Stored:
    assert _worker is not None, "the process has begun"
    preparation, arena = _worker
    prepared = preparation(data, name)
    return replace(prepared, image=()), arena.store(slot, prepared.image)
