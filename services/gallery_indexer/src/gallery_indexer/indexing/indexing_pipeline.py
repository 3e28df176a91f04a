"""From encoded image files to points in the store: bounded stages that overlap, whatever the number of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import numpy as np

from aff_shared.errors import AffError, EncoderError, ImageError
from aff_shared.images.decoding import ImageLimits
from aff_shared.images.pixel_budget import PixelBudget
from aff_shared.store.gallery_store import GalleryPoint
from aff_shared.workers.worker_life import WorkerStartError
from gallery_indexer.features.image_encoder import EncodedImage, EncoderInput, ImageEncoder, ImageFeatures, not_finite
from gallery_indexer.indexing.batch_encoder import BatchEncoder
from gallery_indexer.indexing.decode_pool import DecodePool
from gallery_indexer.indexing.dynamic_batcher import DynamicBatcher
from gallery_indexer.indexing.encoded_record import EncodedRecord
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.index_task import IndexTask
from gallery_indexer.indexing.photograph_preparation import PhotographPreparation
from gallery_indexer.indexing.retrying_store import RetryingStore
from gallery_indexer.indexing.thumbnail_maker import ThumbnailMaker
from gallery_indexer.workers.shared_pixel_buffer import SharedPixelBuffer

KeepFeatures = Callable[[Sequence[tuple[str, ImageFeatures]]], None]

BATCHES_ALIVE = 4  # one is prepared, one waits, one is embedded, one is written
_UNIT_TOLERANCE = 1e-3


class IndexingPipeline:
    """Prepares images in several threads or processes, embeds them in one thread, and writes them.

    Batches are formed of the images of all requests. While a batch is embedded, the one before it is written and the
    next one is decoded and prepared. No more than four batches of images are alive at the encoder's input sizes, and
    `decode_workers` at their full ones; further images wait with their callers.

    Args:
        encoder: Embeds.
        store: Where the points go.
        limits: What an image may be before it is decoded.
        metrics: Learns of the stages.
        batch_size: Most images that are embedded, or written, together.
        batch_wait_s: Longest wait for images that are being decoded, before a smaller batch is embedded; in seconds.
        decode_workers: Threads or processes that decode and prepare.
        decode_timeout_s: Longest time for an image in such a process, in seconds.
        arena: Where they put the pixels, for an encoder in another process; see DecodePool.
        thumbnails: Of the images that are written; None makes none.
        keep_features: Keeps what the extractors found of images, given with the sha256 of their contents; called in a
            thread before the images are written. None keeps nothing.
        budget: Of the pixels of large images, for which they wait; None has none.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        store: RetryingStore,
        limits: ImageLimits,
        metrics: IndexMetrics,
        *,
        batch_size: int,
        batch_wait_s: float,
        decode_workers: int,
        decode_timeout_s: float,
        arena: SharedPixelBuffer | None = None,
        thumbnails: ThumbnailMaker | None = None,
        keep_features: KeepFeatures | None = None,
        budget: PixelBudget | None = None,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._keep_features = keep_features
        self._budget = budget
        self._batch_encoder = BatchEncoder(
            encoder, metrics, batch_size=batch_size, with_features=keep_features is not None
        )
        self._places = asyncio.Semaphore(BATCHES_ALIVE * batch_size)
        preparation = PhotographPreparation(limits, encoder.preprocessings, thumbnails)
        self._preparing = DecodePool(preparation, decode_workers, arena, decode_timeout_s)
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._to_encode = DynamicBatcher(self._encode, size=lambda: self._batch_encoder.size, wait_s=batch_wait_s)
        self._to_keep = DynamicBatcher(self._keep, size=lambda: batch_size, wait_s=0.0)
        self._to_write = DynamicBatcher(self._write, size=lambda: batch_size, wait_s=0.0)

    async def embed(self, entry: IndexTask) -> EncodedRecord | AffError:
        """Embed the content of an entry and write its point.

        Returns:
            What the image became, once it is in the store; or the ImageError or EncoderError that it met.

        Raises:
            StoreError: It could not be written.
            WorkerStartError: No process can be started to decode or embed it.
        """
        image = entry.images[0]
        with self._metrics.in_flight():
            async with self._large_image(image.data) as decoded, self._places:
                try:
                    async with AsyncExitStack() as stack:
                        with self._to_encode.expecting():
                            preparing = self._preparing.prepared(image.data, image.label)
                            prepared = await stack.enter_async_context(preparing)
                        await decoded()
                        self._metrics.observe("decode", prepared.decode_s)
                        self._metrics.observe("prepare", prepared.prepare_s)
                        encoded = await self._to_encode.submit(prepared.image)
                    embedded = encoded_record(encoded, prepared.width, prepared.height, label=image.label)
                    embedded = replace(embedded, thumbnail=prepared.thumbnail)
                except WorkerStartError:  # no fault of the image
                    raise
                except (ImageError, EncoderError) as error:
                    return error
                if encoded is not None and encoded.features is not None:
                    await self._to_keep.submit((image.content_sha256, encoded.features))
                await self.write(entry.embedded_point(embedded))
                return embedded

    async def write(self, point: GalleryPoint) -> None:
        """Write a point, together with others; returns when it is in the store.

        Raises:
            StoreError: It could not be written.
        """
        await self._to_write.submit(point)

    def close(self) -> None:
        """End the workers; what waits for them is cancelled."""
        self._preparing.close()
        self._encoding.shutdown(cancel_futures=True)

    @asynccontextmanager
    async def _large_image(self, data: bytes) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Hold the pixels of a large image, until the context ends or what it returns is called."""
        async with AsyncExitStack() as stack:
            if self._budget is not None:
                await stack.enter_async_context(self._budget.holding([data]))
            yield stack.aclose

    async def _encode(self, images: Sequence[EncoderInput]) -> list[EncodedImage | None]:
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._encoding, self._batch_encoder.encode, images)

    async def _keep(self, images: Sequence[tuple[str, ImageFeatures]]) -> list[None]:
        assert self._keep_features is not None, "features are asked for only to be kept"
        with self._metrics.time("keep"):
            await asyncio.to_thread(self._keep_features, images)
        return [None] * len(images)

    async def _write(self, points: Sequence[GalleryPoint]) -> list[None]:
        with self._metrics.time("upsert"):
            await self._store.upsert(points)
        return [None] * len(points)


def encoded_record(encoded: EncodedImage | None, width: int, height: int, *, label: str) -> EncodedRecord:
    """Return what an image became.

    Args:
        encoded: What the encoder gave; None where it failed on the image.
        width: Pixels of the upright photograph.
        height: Pixels of the upright photograph.
        label: Name of the image, for the message.

    Raises:
        EncoderError: The encoder failed, gave no unit vector, or features that cannot be kept.
    """
    if encoded is None:
        raise EncoderError("the encoder failed on this image; the log says why", item=label)
    if names := not_finite(encoded.features or {}):
        raise EncoderError(f"features cannot be kept: {', '.join(names)} beyond float16 (65,504), or NaN", item=label)
    if not abs(np.linalg.norm(encoded.embedding) - 1.0) < _UNIT_TOLERANCE:
        reason = "" if encoded.extractors else ": no extractor of the bundle finds anything in it"
        raise EncoderError(f"the encoder gave no unit vector for this image{reason}", item=label)
    return EncodedRecord(encoded.embedding, width, height, encoded.extractors)
