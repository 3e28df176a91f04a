"""Batches across requests: collected from concurrent callers, and embedded."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

import numpy as np

from aff_shared.errors import EncoderError
from aff_shared.workers.worker_life import WorkerStartError
from gallery_indexer.features.image_encoder import (
    BatchTooLargeError,
    EncodedImage,
    EncoderInput,
    ImageEncoder,
    not_finite,
)
from gallery_indexer.indexing.index_metrics import IndexMetrics

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


_GROW_AFTER = 64
_UNIT_TOLERANCE = 1e-3

_logger = logging.getLogger(__name__)


class BatchEncoder:
    """Halves a batch on which the encoder fails until the image at fault is alone. For one thread.

    A batch that does not fit into the device's memory is halved too, which also limits later batches; after 64 of those
    without a failure, the limit doubles.

    Args:
        encoder: The encoder.
        metrics: Records batches.
        batch_size: Largest batch.
        with_features: Whether to return the extractors' features, too.
    """

    def __init__(
        self, encoder: ImageEncoder, metrics: IndexMetrics, *, batch_size: int, with_features: bool = False
    ) -> None:
        self._encoder = encoder
        self._metrics = metrics
        self._batch_size = batch_size
        self._with_features = with_features
        self._fitted = 0
        self.size = batch_size
        """Largest batch at present."""

    def encode(self, images: Sequence[EncoderInput]) -> list[EncodedImage | None]:
        """Embed prepared images; None for each image on which the encoder fails.

        Raises:
            WorkerStartError: The encoder's process cannot be started.
        """
        encoded: list[EncodedImage | None] = []
        while len(encoded) < len(images):
            encoded += self._encode(images[len(encoded) : len(encoded) + self.size])
        return encoded

    def _encode(self, images: Sequence[EncoderInput]) -> list[EncodedImage | None]:
        try:
            with self._metrics.encoding(len(images)):
                encoded = self._encoder.encode_images(images, with_features=self._with_features)
        except BatchTooLargeError:
            self._shrink(len(images))
            return [None] if len(images) == 1 else self.encode(images)
        except Exception as error:
            if len(images) == 1 and isinstance(error, WorkerStartError):
                raise
            _logger.warning("the encoder failed on a batch of %d", len(images), exc_info=True)
            half = len(images) // 2
            return [None] if len(images) == 1 else self._encode(images[:half]) + self._encode(images[half:])
        self._grow()
        return list(encoded)

    def _shrink(self, failed: int) -> None:
        self.size = min(self.size, max(1, failed // 2))
        self._fitted = 0
        self._metrics.count_out_of_memory()
        _logger.warning("a batch of %d does not fit into the device's memory; continuing with %d", failed, self.size)

    def _grow(self) -> None:
        if self.size < self._batch_size:
            self._fitted += 1
            if self._fitted == _GROW_AFTER:
                self.size, self._fitted = min(2 * self.size, self._batch_size), 0


def require_usable(encoded: EncodedImage | None, *, label: str) -> EncodedImage:
    """Return the output of the encoder for an image.

    Args:
        encoded: One result of `BatchEncoder.encode`.
        label: Name of the image, for the message.

    Raises:
        EncoderError: The encoder failed, or returned no unit vector or features that cannot be stored.
    """
    if encoded is None:
        raise EncoderError("the encoder failed on this image; the log has the reason", item=label)
    if names := not_finite(encoded.features or {}):
        raise EncoderError(f"features cannot be kept: {', '.join(names)} beyond float16 (65,504), or NaN", item=label)
    if not abs(np.linalg.norm(encoded.embedding) - 1.0) < _UNIT_TOLERANCE:
        reason = "" if encoded.extractors else ": no extractor of the bundle finds anything in it"
        raise EncoderError(f"the encoder returned no unit vector for this image{reason}", item=label)
    return encoded
