"""Prepares photographs in threads or in processes."""

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
    """First message to a process.

    Attributes:
        preparation: The preparation to run.
        buffer_file: File descriptor of the shared buffer.
        buffer_slots: Number of its slots.
    """

    preparation: PhotographPreparation
    buffer_file: int
    buffer_slots: int


class PrepareRequest(Message):
    """Request to prepare an image file, which is the frame's part.

    Attributes:
        name: Name of the image, for errors.
        slot: Slot of the shared buffer for the pixels.
    """

    name: str
    slot: int


class PrepareAnswer(Message):
    """Answer of a process; the frame's part is the thumbnail, if any. See PreparedPhotograph and PixelReference."""

    sizes: tuple[tuple[int, int], ...]
    width: int
    height: int
    decode_s: float
    prepare_s: float


class DecodePool:
    """Workers that decode photographs and resize them to the input sizes.

    With a shared buffer they are processes that write the pixels into it, for an encoder in another process; without
    one they are threads. If a process crashes or exceeds the timeout, only its photograph fails.

    Args:
        preparation: The preparation to run.
        workers: Number of workers.
        buffer: Shared memory for the pixels; None for threads.
        timeout_s: Longest time for a photograph in a process, in seconds.
    """

    def __init__(
        self, preparation: PhotographPreparation, workers: int, buffer: SharedPixelBuffer | None, timeout_s: float
    ) -> None:
        self._preparation = preparation
        self._buffer = buffer
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="prepare")
        self._processes: list[WorkerProcess] = []
        self._idle: asyncio.LifoQueue[WorkerProcess] = asyncio.LifoQueue()
        self._slots: asyncio.LifoQueue[int] = asyncio.LifoQueue()
        if buffer is not None:
            setup = PreparationSetup(preparation=preparation, buffer_file=buffer.file, buffer_slots=buffer.slots)
            self._processes = [_process(setup, timeout_s) for _ in range(workers)]
            for process in self._processes:
                self._idle.put_nowait(process)
            for slot in reversed(range(buffer.slots)):
                self._slots.put_nowait(slot)

    @asynccontextmanager
    async def prepared(self, data: bytes, name: str) -> AsyncIterator[PreparedPhotograph]:
        """Prepare an image file; the pixels are valid during the context.

        Cancelling waits until the worker has finished with the image, whose pixels are in memory until then.

        Raises:
            ImageError: The image is invalid or exceeds a limit; the subclass names the reason.
            WorkerStartError: No process can be started.
        """
        if self._buffer is None:
            yield await self._prepared_in_thread(data, name)
            return
        slot = await self._slots.get()
        preparing = asyncio.create_task(self._prepared_in_process(self._buffer, slot, data, name))
        try:
            yield await asyncio.shield(preparing)
        finally:  # the caller may have been cancelled before the process wrote to the slot
            preparing.add_done_callback(lambda _: self._slots.put_nowait(slot))
            if not preparing.done():
                await asyncio.wait([preparing])

    def close(self) -> None:
        """Stop the workers; images in processes are abandoned, images that wait for threads are cancelled."""
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.close()

    async def _prepared_in_thread(self, data: bytes, name: str) -> PreparedPhotograph:
        job = self._threads.submit(self._preparation, data, name)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            if not job.cancel():  # it is running
                await asyncio.gather(asyncio.wrap_future(job), return_exceptions=True)
            raise

    async def _prepared_in_process(
        self, buffer: SharedPixelBuffer, slot: int, data: bytes, name: str
    ) -> PreparedPhotograph:
        process = await self._idle.get()
        try:
            request = PrepareRequest(name=name, slot=slot)
            answer, frame = await process.call(request, [data], PrepareAnswer)
            pixels = buffer.image(PixelReference(slot, answer.sizes))
        except WorkerStartError:
            raise
        except WorkerError as error:
            await process.start()  # raises if the image is not the reason
            raise DecoderFailedError(f"cannot be decoded: {error.detail}", item=name) from error
        finally:
            self._idle.put_nowait(process)
        return PreparedPhotograph(
            pixels,
            answer.width,
            answer.height,
            frame.parts[0] if frame.parts else None,
            decode_s=answer.decode_s,
            prepare_s=answer.prepare_s,
        )


def open_preparation(frame: Frame) -> Handler:
    """Return the handler of a worker process's requests."""
    setup = frame.read(PreparationSetup)
    buffer = SharedPixelBuffer(setup.preparation.preprocessings, setup.buffer_slots, setup.buffer_file)

    def prepare(frame: Frame) -> tuple[PrepareAnswer, list[Part]]:
        request = frame.read(PrepareRequest)
        prepared = setup.preparation(frame.parts[0], request.name)
        answer = PrepareAnswer(
            sizes=buffer.store(request.slot, prepared.pixels).sizes,
            width=prepared.width,
            height=prepared.height,
            decode_s=prepared.decode_s,
            prepare_s=prepared.prepare_s,
        )
        return answer, [] if prepared.thumbnail is None else [prepared.thumbnail]

    return prepare


def _process(setup: PreparationSetup, timeout_s: float) -> WorkerProcess:
    opener = name_of(open_preparation)
    return WorkerProcess("prepares photographs", opener, setup, timeout_s=timeout_s, files=[setup.buffer_file])
