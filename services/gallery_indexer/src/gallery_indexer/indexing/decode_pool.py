"""Prepares photographs beside the encoder: in threads, or in processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from aff_shared.errors import DecoderFailedError, WorkerError
from aff_shared.workers.frames import Frame, Message, Part
from aff_shared.workers.serve import Handler, name_of
from aff_shared.workers.worker_life import WorkerStartError
from aff_shared.workers.worker_process import WorkerProcess
from gallery_indexer.indexing.photograph_preparation import PhotographPreparation, PreparedPhotograph
from gallery_indexer.workers.shared_pixel_buffer import PixelReference, SharedPixelBuffer


class PreparationSetup(Message):
    """What a process starts with.

    Attributes:
        preparation: What it does.
        arena_file: Descriptor of the arena.
        arena_slots: Slots of the arena.
    """

    preparation: PhotographPreparation
    arena_file: int
    arena_slots: int


class PrepareRequest(Message):
    """Asks for an image file, the frame's part, to be prepared.

    Attributes:
        name: Of the image, for errors.
        slot: Of the arena, where the pixels go.
    """

    name: str
    slot: int


class PrepareAnswer(Message):
    """Goes with the thumbnail, where one is wanted; see PreparedPhotograph and PixelReference."""

    sizes: tuple[tuple[int, int], ...]
    width: int
    height: int
    decode_s: float
    prepare_s: float


class DecodePool:
    """Workers that decode photographs and bring them to the input sizes.

    They are processes where the pixels go to an arena, from which an encoder in another process takes them; else they
    are threads. A photograph on which a worker process dies, or with which it does not end, is the only one that
    suffers.

    Args:
        preparation: What they do.
        workers: Their number.
        arena: Where the pixels go.
        timeout_s: Longest time for a photograph in a process, in seconds.
    """

    def __init__(
        self, preparation: PhotographPreparation, workers: int, arena: SharedPixelBuffer | None, timeout_s: float
    ) -> None:
        self._preparation = preparation
        self._arena = arena
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="prepare")
        self._processes: list[WorkerProcess] = []
        self._idle: asyncio.LifoQueue[WorkerProcess] = asyncio.LifoQueue()
        self._slots: asyncio.LifoQueue[int] = asyncio.LifoQueue()
        if arena is not None:
            setup = PreparationSetup(preparation=preparation, arena_file=arena.file, arena_slots=arena.slots)
            self._processes = [_process(setup, timeout_s) for _ in range(workers)]
            for process in self._processes:
                self._idle.put_nowait(process)
            for slot in reversed(range(arena.slots)):
                self._slots.put_nowait(slot)

    @asynccontextmanager
    async def prepared(self, data: bytes, name: str) -> AsyncIterator[PreparedPhotograph]:
        """Prepare an image file; the pixels are there as long as the context.

        Cancelling returns when the image is no longer worked on: until then its pixels take memory.

        Raises:
            ImageError: One of its subclasses says what is wrong with the image.
            WorkerStartError: No process can be started.
        """
        if self._arena is None:
            yield await self._prepared_in_thread(data, name)
            return
        slot = await self._slots.get()
        preparing = asyncio.create_task(self._prepared(self._arena, slot, data, name))
        try:
            yield await asyncio.shield(preparing)
        finally:  # the caller may have gone away before the process has written to the slot
            preparing.add_done_callback(lambda _: self._slots.put_nowait(slot))
            if not preparing.done():
                await asyncio.wait([preparing])

    def close(self) -> None:
        """End the workers; what processes work on is given up, and what waits for threads cancelled."""
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.close()

    async def _prepared_in_thread(self, data: bytes, name: str) -> PreparedPhotograph:
        job = self._threads.submit(self._preparation, data, name)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            if not job.cancel():  # it has begun
                await asyncio.gather(asyncio.wrap_future(job), return_exceptions=True)
            raise

    async def _prepared(self, arena: SharedPixelBuffer, slot: int, data: bytes, name: str) -> PreparedPhotograph:
        process = await self._idle.get()
        try:
            request = PrepareRequest(name=name, slot=slot)
            answer, frame = await process.call(request, [data], PrepareAnswer)
            image = arena.image(PixelReference(slot, answer.sizes))
        except WorkerStartError:
            raise
        except WorkerError as error:
            await process.start()  # raises where the image is not the reason
            raise DecoderFailedError(f"cannot be decoded: {error.detail}", item=name) from error
        finally:
            self._idle.put_nowait(process)
        return PreparedPhotograph(
            image,
            answer.width,
            answer.height,
            frame.parts[0] if frame.parts else None,
            decode_s=answer.decode_s,
            prepare_s=answer.prepare_s,
        )


def open_preparation(frame: Frame) -> Handler:
    """Return what prepares the photograph of a request, in a process."""
    setup = frame.read(PreparationSetup)
    arena = SharedPixelBuffer(setup.preparation.preprocessings, setup.arena_slots, setup.arena_file)

    def prepare(frame: Frame) -> tuple[PrepareAnswer, list[Part]]:
        request = frame.read(PrepareRequest)
        prepared = setup.preparation(frame.parts[0], request.name)
        answer = PrepareAnswer(
            sizes=arena.store(request.slot, prepared.image).sizes,
            width=prepared.width,
            height=prepared.height,
            decode_s=prepared.decode_s,
            prepare_s=prepared.prepare_s,
        )
        return answer, [] if prepared.thumbnail is None else [prepared.thumbnail]

    return prepare


def _process(setup: PreparationSetup, timeout_s: float) -> WorkerProcess:
    opener = name_of(open_preparation)
    return WorkerProcess("prepares photographs", opener, setup, timeout_s=timeout_s, files=[setup.arena_file])
