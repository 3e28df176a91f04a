"""The use case of the service: photographs in, a receipt for each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aff_contracts.embedding_space import EmbeddingSpace
from aff_contracts.errors import AffError, RepeatedIdError
from aff_contracts.gallery_store.gallery_store import GalleryStore
from aff_contracts.schemas.indexing import Receipt
from gallery_indexer.embedding_pipeline import EmbeddingPipeline
from gallery_indexer.gallery_entry import GalleryEntry, group_by_id
from gallery_indexer.identified_image import IdentifiedImage, identify, reject
from gallery_indexer.incoming_image import IncomingImage
from gallery_indexer.index_metrics import IndexMetrics


class IndexGallery:
    """Decides what each image needs, and brings new content through the pipeline into the store.

    Writing is by id and replaces, so a request that was cut off half-way can be sent again: what was written
    answers as duplicate, the rest is written. Nothing is lost, nothing is there twice.

    Args:
        store: Where the embeddings go.
        space: The encoder's embedding space.
        pipeline: Embeds new content.
        metrics: Learns of stages and receipts.
        batch_size: Images that are decoded, embedded and written together.
        max_payload_bytes: Largest payload of an image, as compact JSON.
    """

    def __init__(
        self,
        store: GalleryStore,
        space: EmbeddingSpace,
        pipeline: EmbeddingPipeline,
        metrics: IndexMetrics,
        *,
        batch_size: int,
        max_payload_bytes: int,
    ) -> None:
        self._store = store
        self._space = space
        self._pipeline = pipeline
        self._metrics = metrics
        self._batch_size = batch_size
        self._max_payload_bytes = max_payload_bytes

    async def index(self, images: Sequence[IncomingImage]) -> list[Receipt]:
        """Index images.

        Returns:
            A receipt per image, in order. A bad image is rejected alone.

        Raises:
            EmbeddingSpaceMismatchError: The gallery is of another space; nothing was written.
            StoreError: The store failed; what was written before stays.
        """
        await self._store.create(self._space)
        identified, receipts = await asyncio.to_thread(self._identify, images)
        groups, conflicting = group_by_id(identified)
        receipts += [image.rejection(_conflict(image)) for image in conflicting]
        with self._metrics.time("fetch"):
            stored = await self._store.fetch(list(groups))
        entries = [GalleryEntry(tuple(group), stored.get(item_id)) for item_id, group in groups.items()]
        receipts += await self._update_payloads([entry for entry in entries if not entry.needs_embedding])
        receipts += await self._embed([entry for entry in entries if entry.needs_embedding])
        self._metrics.count(receipts)
        return sorted(receipts, key=lambda receipt: receipt.index)

    def _identify(self, images: Sequence[IncomingImage]) -> tuple[list[IdentifiedImage], list[Receipt]]:
        identified, rejections = [], []
        for index, image in enumerate(images):
            try:
                identified.append(identify(index, image, max_payload_bytes=self._max_payload_bytes))
            except AffError as error:
                rejections.append(reject(index, image.item.id, image.name, error))
        return identified, rejections

    async def _update_payloads(self, entries: Sequence[GalleryEntry]) -> list[Receipt]:
        points = [point for entry in entries if (point := entry.payload_update())]
        if points:
            with self._metrics.time("upsert"):
                await self._store.upsert(points)
        return [receipt for entry in entries for receipt in entry.receipts()]

    async def _embed(self, entries: Sequence[GalleryEntry]) -> list[Receipt]:
        starts = range(0, len(entries), self._batch_size)
        try:
            async with asyncio.TaskGroup() as group:
                batches = [
                    group.create_task(self._embed_batch(entries[start : start + self._batch_size])) for start in starts
                ]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return [receipt for batch in batches for receipt in batch.result()]

    async def _embed_batch(self, entries: Sequence[GalleryEntry]) -> list[Receipt]:
        results = await self._pipeline.embed([entry.images[0] for entry in entries])
        points, receipts = [], []
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, AffError):
                receipts += entry.rejections(result)
            else:
                points.append(entry.embedded_point(result))
                receipts += entry.receipts(result)
        if points:
            with self._metrics.time("upsert"):
                await self._store.upsert(points)
        return receipts


def _conflict(image: IdentifiedImage) -> RepeatedIdError:
    return RepeatedIdError(
        f"the id {image.item_id!r} stands earlier in this request, with other content", item=image.label
    )
