"""From encoded image files to points in the store: bounded, overlapping stages shared by all requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

from aff_shared.errors import AffError, EncoderError, ImageError
from aff_shared.images.decoding import ImageLimits
from aff_shared.images.size import PixelBudget
from aff_shared.store.gallery_store import GalleryPoint, GalleryStore
from aff_shared.store.retry import retry_for
from aff_shared.workers.worker_life import WorkerStartError
from gallery_indexer.features.image_encoder import EncodedImage, EncoderInput, ImageEncoder, ImageFeatures
from gallery_indexer.indexing.batches import BatchEncoder, DynamicBatcher, require_usable
from gallery_indexer.indexing.decode_pool import DecodePool
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.index_task import IndexTask
from gallery_indexer.indexing.photograph_preparation import PhotographPreparation, ThumbnailMaker
from gallery_indexer.workers.shared_pixel_buffer import SharedPixelBuffer

KeepFeatures = Callable[[Sequence[tuple[str, ImageFeatures]]], None]

BATCHES_ALIVE = 4  # one in preparation, one waiting, one in the encoder, one being written


class IndexingPipeline:
    """Prepares images in several threads or processes, embeds them in one thread, and writes them.

    Batches contain images of all requests. While one batch is embedded, the previous one is written and the next one is
    decoded and prepared. At most four batches of images are in memory at the encoder's input sizes, and
    `decode_workers` images at full size; the callers of further images wait.

    Args:
        encoder: The gallery encoder.
        store: The collection.
        limits: Limits of images before they are decoded.
        metrics: Records stage times.
        batch_size: Largest batch for the encoder and for the store.
        batch_wait_s: Longest wait for images in preparation before a smaller batch is embedded, in seconds.
        decode_workers: Number of threads or processes that decode and prepare.
        decode_timeout_s: Longest time for an image in such a process, in seconds.
        store_wait_s: Longest wait for an unavailable store, in seconds.
        buffer: Shared memory for the pixels, if the encoder runs in another process; see DecodePool.
        thumbnails: Makes the thumbnails; None for none.
        keep_features: Stores the extractors' features of images, with the sha256 of their contents; called in a thread
            before the images are written. None stores none.
        budget: Budget of the pixels of large images; None for no limit.
        decode_on_card: Whether a GPU decodes the JPEGs that it can decode.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        store: GalleryStore,
        limits: ImageLimits,
        metrics: IndexMetrics,
        *,
        batch_size: int,
        batch_wait_s: float,
        decode_workers: int,
        decode_timeout_s: float,
        store_wait_s: float,
        buffer: SharedPixelBuffer | None = None,
        thumbnails: ThumbnailMaker | None = None,
        keep_features: KeepFeatures | None = None,
        budget: PixelBudget | None = None,
        decode_on_card: bool = False,
    ) -> None:
        self._store = store
        self._store_wait_s = store_wait_s
        self._metrics = metrics
        self._keep_features = keep_features
        self._budget = budget
        self._batch_encoder = BatchEncoder(
            encoder, metrics, batch_size=batch_size, with_features=keep_features is not None
        )
        self._places = asyncio.Semaphore(BATCHES_ALIVE * batch_size)
        preparation = PhotographPreparation(limits, encoder.preprocessings, thumbnails, decode_on_card)
        self._decode_pool = DecodePool(preparation, decode_workers, buffer, decode_timeout_s)
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._to_encode = DynamicBatcher(self._encode, size=lambda: self._batch_encoder.size, wait_s=batch_wait_s)
        self._to_keep = DynamicBatcher(self._keep, size=lambda: batch_size, wait_s=0.0)
        self._to_write = DynamicBatcher(self._write, size=lambda: batch_size, wait_s=0.0)

    async def embed(self, task: IndexTask) -> GalleryPoint | AffError:
        """Embed the content of a task and write its point.

        Returns:
            The point, after it was written; or the ImageError or EncoderError of the image.

        Raises:
            StoreError: The point could not be written.
            WorkerStartError: No process can be started to decode or embed the image.
        """
        with self._metrics.in_flight():
            async with self._large_image(task.data) as release_budget, self._places:
                try:
                    async with AsyncExitStack() as stack:
                        with self._to_encode.expecting():
                            preparing = self._decode_pool.prepared(task.data, task.label)
                            prepared = await stack.enter_async_context(preparing)
                        await release_budget()
                        self._metrics.observe("decode", prepared.decode_s)
                        self._metrics.observe("prepare", prepared.prepare_s)
                        result = await self._to_encode.submit(prepared.pixels)
                    encoded = require_usable(result, label=task.label)
                except WorkerStartError:  # not the image's fault
                    raise
                except (ImageError, EncoderError) as error:
                    return error
                if encoded.features is not None:
                    await self._to_keep.submit((task.content_sha256, encoded.features))
                point = task.point(encoded, prepared.width, prepared.height, prepared.thumbnail)
                await self._to_write.submit(point)
                return point

    def close(self) -> None:
        """Stop the workers; queued images are cancelled."""
        self._decode_pool.close()
        self._encoding.shutdown(cancel_futures=True)

    @asynccontextmanager
    async def _large_image(self, data: bytes) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Reserve the pixels of a large image until the context ends or the returned function is called."""
        async with AsyncExitStack() as stack:
            if self._budget is not None:
                await stack.enter_async_context(self._budget.holding([data]))
            yield stack.aclose

    async def _encode(self, images: Sequence[EncoderInput]) -> list[EncodedImage | None]:
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._encoding, self._batch_encoder.encode, images)

    async def _keep(self, images: Sequence[tuple[str, ImageFeatures]]) -> list[None]:
        assert self._keep_features is not None, "only then are features requested"
        with self._metrics.time("keep"):
            await asyncio.to_thread(self._keep_features, images)
        return [None] * len(images)

    async def _write(self, points: Sequence[GalleryPoint]) -> list[None]:
        with self._metrics.time("upsert"):
            await retry_for(lambda: self._store.upsert(points), wait_s=self._store_wait_s)
        return [None] * len(points)
