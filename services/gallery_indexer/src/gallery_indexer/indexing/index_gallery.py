"""The use case of the service: photographs in, a receipt for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from aff_shared.errors import AffError, RepeatedIdError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import LookupImage, Receipt
from aff_shared.store.gallery_store import GalleryRecord
from gallery_indexer.indexing.identified_image import IdentifiedImage, identify, reject
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.index_task import IndexTask, group_by_id
from gallery_indexer.indexing.indexing_pipeline import IndexingPipeline
from gallery_indexer.indexing.payload_limits import PayloadLimits, same_payload
from gallery_indexer.indexing.retrying_store import RetryingStore
from gallery_indexer.indexing.uploaded_image import UploadedImage


class IndexGallery:
    """Decides what each image needs, and sends new content through the pipeline into the store.

    Writing is by id and replaces, so a request that was cut off half-way can be sent again: what was written
    answers as duplicate, the rest is written. Nothing is lost, nothing is there twice.

    Args:
        store: Where the embeddings go.
        space: The encoder's embedding space.
        pipeline: Embeds new content and writes it.
        metrics: Learns how long the store takes.
        payload_limits: What a payload may be.
        extractors: Names of the bundle's extractors; receipts name those that found nothing.
    """

    def __init__(
        self,
        store: RetryingStore,
        space: EmbeddingSpace,
        pipeline: IndexingPipeline,
        metrics: IndexMetrics,
        payload_limits: PayloadLimits,
        extractors: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._space = space
        self._pipeline = pipeline
        self._metrics = metrics
        self._payload_limits = payload_limits
        self._extractors = tuple(extractors)

    async def index(self, images: Sequence[UploadedImage]) -> list[Receipt]:
        """Index images.

        Returns:
            A receipt per image, in order. A bad image is rejected alone.

        Raises:
            EmbeddingSpaceMismatchError: The gallery is of another space; nothing was written.
            StoreError: The store failed; what was written before stays.
        """
        return sorted([receipt async for receipt in self.receipts(images)], key=lambda receipt: receipt.index)

    async def receipts(self, images: Sequence[UploadedImage]) -> AsyncGenerator[Receipt, None]:
        """Index images, and give a receipt for each as soon as it is done; otherwise as `index`.

        An image whose receipt was given is in the store. Closing the iterator gives up what is not done.
        """
        await self._require_gallery()
        identified, rejected = await asyncio.to_thread(self._identify, images)
        groups, conflicting = group_by_id(identified)
        for receipt in [*rejected, *(image.rejection(_conflict(image)) for image in conflicting)]:
            yield receipt
        with self._metrics.time("fetch"):
            stored = await self._store.fetch(list(groups))
        entries = [IndexTask(tuple(group), stored.get(item_id)) for item_id, group in groups.items()]
        tasks = [asyncio.create_task(self._bring_in(entry)) for entry in entries]
        try:
            for done in asyncio.as_completed(tasks):
                for receipt in await done:
                    yield self._with_found_nothing(receipt)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def up_to_date(self, images: Sequence[LookupImage]) -> list[str]:
        """Return the ids of those images that indexing would find to be duplicates, by what is told of them.

        Raises:
            EmbeddingSpaceMismatchError: The gallery is of another space.
            StoreError: The store failed.
        """
        await self._require_gallery()
        stored = await self._store.fetch([image.id for image in images])
        return [image.id for image in images if image.id in stored and _told_of(image, stored[image.id].record)]

    async def _require_gallery(self) -> None:
        """Raise GalleryMissingError where the collection is gone: one that is written to is never begun anew here."""
        self._space.require_same(await self._store.space(), here="the model bundle", there="the gallery")

    def _with_found_nothing(self, receipt: Receipt) -> Receipt:
        """Return a receipt that names the extractors that found nothing, where it is known which found something."""
        if receipt.extractors is None or not self._extractors:
            return receipt
        nothing = tuple(name for name in self._extractors if name not in receipt.extractors)
        return receipt.model_copy(update={"found_nothing": nothing})

    def _identify(self, images: Sequence[UploadedImage]) -> tuple[list[IdentifiedImage], list[Receipt]]:
        identified, rejections = [], []
        for index, image in enumerate(images):
            try:
                identified.append(identify(index, image, self._payload_limits))
            except AffError as error:
                rejections.append(reject(index, image.item.id, image.name, error))
        return identified, rejections

    async def _bring_in(self, entry: IndexTask) -> list[Receipt]:
        if entry.needs_embedding:
            result = await self._pipeline.embed(entry)
            return entry.rejections(result) if isinstance(result, AffError) else entry.receipts(result)
        if entry.needs_payload:
            with self._metrics.time("upsert"):
                await self._store.set_payload(entry.images[0].item_id, entry.payload)
        return entry.receipts()


def _told_of(image: LookupImage, record: GalleryRecord) -> bool:
    return image.content_sha256 in {None, record.content_sha256} and (
        image.payload is None or same_payload(image.payload, record.payload)
    )


def _conflict(image: IdentifiedImage) -> RepeatedIdError:
    return RepeatedIdError(
        f"the id {image.item_id!r} stands earlier in this request, with other content", item=image.label
    )
