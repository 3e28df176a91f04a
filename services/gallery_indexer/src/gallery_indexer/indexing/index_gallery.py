"""Indexing: images of a request become points of the collections, with a receipt for each image."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence

from aff_shared.errors import AffError, GalleryMissingError, InvalidItemsError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import LookupImage, Receipt
from aff_shared.store.gallery_store import GalleryRecord, GalleryStore
from aff_shared.store.retry import retry_for
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.index_task import IndexTask, UploadedImage, plan_tasks
from gallery_indexer.indexing.indexing_pipeline import IndexingPipeline
from gallery_indexer.indexing.payload_limits import PayloadLimits, require_storable, same_payload


class IndexGallery:
    """Compares images with the gallery and sends new content through the pipeline into the store.

    A write replaces the point of its id, so an interrupted request can be sent again: images that were written are
    duplicates then, and the others are written. None is lost or stored twice.

    Args:
        store: The collection.
        space: The encoder's embedding space.
        pipeline: Embeds new content and writes it.
        metrics: Records stage times.
        payload_limits: Limits of payloads.
        extractors: Names of the bundle's extractors; receipts list those that found nothing.
        store_wait_s: Longest wait for an unavailable store, in seconds.
    """

    def __init__(
        self,
        store: GalleryStore,
        space: EmbeddingSpace,
        pipeline: IndexingPipeline,
        metrics: IndexMetrics,
        payload_limits: PayloadLimits,
        extractors: Sequence[str] = (),
        *,
        store_wait_s: float,
    ) -> None:
        self._store = store
        self._space = space
        self._pipeline = pipeline
        self._metrics = metrics
        self._payload_limits = payload_limits
        self._extractors = tuple(extractors)
        self._store_wait_s = store_wait_s

    async def receipts(self, images: Sequence[UploadedImage]) -> AsyncGenerator[Receipt, None]:
        """Index images; yield a receipt per image as soon as it is done, in any order.

        An image is in the store when its receipt is yielded; a bad image is rejected alone. Closing the iterator
        cancels the remaining images.

        Raises:
            EmbeddingSpaceMismatchError: The gallery has another space; nothing was written.
            StoreError: The store failed; points written before remain.
        """
        await self._require_gallery()
        tasks, rejected = await asyncio.to_thread(plan_tasks, images, self._payload_limits)
        for receipt in rejected:
            yield receipt
        with self._metrics.time("fetch"):
            stored = await retry_for(lambda: self._store.fetch(list(tasks)), wait_s=self._store_wait_s)
        for item_id, task in tasks.items():
            task.stored = stored.get(item_id)
        running = [asyncio.create_task(self._run(task)) for task in tasks.values()]
        try:
            for done in asyncio.as_completed(running):
                for receipt in await done:
                    yield self._with_found_nothing(receipt)
        finally:
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def up_to_date(self, images: Sequence[LookupImage]) -> list[str]:
        """Return the ids of those images that the gallery holds with the given content and payload.

        Raises:
            EmbeddingSpaceMismatchError: The gallery has another space.
            StoreError: The store failed.
        """
        await self._require_gallery()
        ids = [image.id for image in images]
        stored = await retry_for(lambda: self._store.fetch(ids), wait_s=self._store_wait_s)
        return [image.id for image in images if image.id in stored and _matches(image, stored[image.id].record)]

    async def _require_gallery(self) -> None:
        """Raise GalleryMissingError if the collection was deleted: it is never created here."""
        space = await retry_for(self._store.space, wait_s=self._store_wait_s)
        self._space.require_same(space, here="the model bundle", there="the gallery")

    async def _run(self, task: IndexTask) -> list[Receipt]:
        if any(image.details for _, image in task.images):
            try:
                require_storable(task.payload, self._payload_limits, item=task.label)
            except InvalidItemsError as error:
                return task.rejections(error)
        if task.needs_embedding:
            result = await self._pipeline.embed(task)
            return task.rejections(result) if isinstance(result, AffError) else task.receipts(result)
        if task.needs_payload:
            with self._metrics.time("upsert"):
                await retry_for(lambda: self._store.set_payload(task.item_id, task.payload), wait_s=self._store_wait_s)
        return task.receipts()

    def _with_found_nothing(self, receipt: Receipt) -> Receipt:
        """Add the names of the extractors that found nothing, if it is recorded which found something."""
        if receipt.extractors is None or not self._extractors:
            return receipt
        nothing = tuple(name for name in self._extractors if name not in receipt.extractors)
        return receipt.model_copy(update={"found_nothing": nothing})


def _matches(image: LookupImage, record: GalleryRecord) -> bool:
    return image.content_sha256 in {None, record.content_sha256} and (
        image.payload is None or same_payload(image.payload, record.payload)
    )


_Done = tuple[int, Receipt | None]


async def merge_receipts(streams: Sequence[AsyncGenerator[Receipt, None]]) -> AsyncGenerator[Receipt, None]:
    """Yield a receipt for an image as soon as every stream has yielded one.

    A collection that is dropped meanwhile no longer counts.

    Args:
        streams: Streams of one receipt per image, in any order; the first one is the live collection's.

    Raises:
        AffError: A stream failed, or all collections were dropped; the streams are closed.
    """
    done: asyncio.Queue[_Done] = asyncio.Queue()
    tasks = [asyncio.create_task(_drain(place, stream, done)) for place, stream in enumerate(streams)]
    answers: defaultdict[int, dict[int, Receipt]] = defaultdict(dict)
    waited_for, running = set(range(len(streams))), len(streams)
    try:
        while running:
            place, receipt = await done.get()
            if receipt is not None:
                answers[receipt.index][place] = receipt
            else:
                running -= 1
                if await tasks[place]:  # raises what the stream raised
                    waited_for.discard(place)
            for index in [index for index, found in answers.items() if waited_for and waited_for <= found.keys()]:
                found = answers.pop(index)
                yield _merged([found[place] for place in sorted(found)])
        if not waited_for:
            raise GalleryMissingError("every collection was dropped meanwhile")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _drain(place: int, stream: AsyncGenerator[Receipt, None], done: asyncio.Queue[_Done]) -> bool:
    """Put the receipts of a stream into the queue, then None; return whether its collection was dropped meanwhile."""
    try:
        async for receipt in stream:
            done.put_nowait((place, receipt))
    except GalleryMissingError:
        return True
    finally:
        await stream.aclose()
        done.put_nowait((place, None))
    return False


def _merged(receipts: Sequence[Receipt]) -> Receipt:
    """Merge the receipts of an image: rejected if one collection rejected it, a duplicate if none changed."""
    for receipt in receipts:
        if receipt.status == "rejected":
            return receipt
    live = receipts[0]
    changes = [receipt.status for receipt in receipts if receipt.status != "duplicate"]
    return live.model_copy(update={"status": changes[0]}) if changes else live
