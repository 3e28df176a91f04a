"""Fuses a gallery with another mixer, from cached features: no image is decoded, no extractor runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from aff_shared.errors import RemixError
from aff_shared.schemas.gallery import FusedCollection
from aff_shared.store.gallery_store import GalleryPoint, GalleryStore
from gallery_indexer.collections.collection_runtime import CollectionRuntime
from gallery_indexer.collections.gallery_jobs import JobProgress, Work
from gallery_indexer.collections.index_collections import IndexCollections
from gallery_indexer.features.feature_cache import FeatureCache, FeatureKind

_PAGE = 128
_NAMED_IDS = 1000


class RemixGallery:
    """Fills the collection of another mixer as a job; a repeated job continues with the missing images.

    Args:
        collections: The collections of the gallery.
        cache: The cached features; None if features are not cached.
    """

    def __init__(self, collections: IndexCollections, cache: FeatureCache | None) -> None:
        self._collections = collections
        self._cache = cache

    async def prepare(self, bundle_name: str) -> Work:
        """Create the collection of a bundle and return the job that fills it.

        Raises:
            RemixError: Features are not cached, or the bundle has other extractors than the live one.
            BundleUnknownError: There is no such bundle.
            BundleError: The bundle cannot be used.
            StoreError: The store failed.
        """
        if self._cache is None:
            raise RemixError("this service does not keep features (AFF_INDEX_KEPT_TOKENS_PATH)")
        live = await self._collections.live()
        kind = FeatureKind.of(self._collections.manifest_of(bundle_name))
        if kind.extractors != FeatureKind.of(live.manifest).extractors:
            detail = "the bundle has other extractors than the live one; index the images again instead"
            raise RemixError(detail, item=bundle_name)
        built = await self._collections.build(bundle_name)
        target = self._collections.opened.runtime(built.space.id)
        if target is None:
            raise RemixError("the collection was dropped at once", item=bundle_name)
        return _Filling(self._cache, live.store, target).run


@dataclass(slots=True)
class _Filling:
    """Fills a collection from the live one's records and the cached features."""

    cache: FeatureCache
    live: GalleryStore
    target: CollectionRuntime
    missing: int = 0
    missing_ids: list[str] = field(default_factory=list)

    async def run(self, progress: JobProgress) -> None:
        """Fill the collection, page by page."""
        cursor: str | None = None
        with self.target.in_use():
            progress.expect(await self.live.count())
            progress.note(self._result())
            while True:
                page = await self.live.scroll(limit=_PAGE, cursor=cursor)
                await self._fill(page.points)
                progress.advance(len(page.points))
                progress.note(self._result())
                cursor = page.cursor
                if cursor is None:
                    return

    async def _fill(self, points: Sequence[GalleryPoint]) -> None:
        """Write the images that the target lacks; repeat for images that were changed meanwhile."""
        live, target = self.live, self.target
        while points:
            existing = await target.store.fetch([point.record.item_id for point in points])
            lacking = [point for point in points if not _same(existing.get(point.record.item_id), point)]
            contents = [point.record.content_sha256 for point in lacking]
            cached = await asyncio.to_thread(self.cache.fetch, FeatureKind.of(target.manifest), contents)
            with_features = [point for point in lacking if point.record.content_sha256 in cached]
            self._note_missing([point for point in lacking if point.record.content_sha256 not in cached])
            if not with_features:
                return
            features = [cached[point.record.content_sha256] for point in with_features]
            embeddings = await asyncio.to_thread(target.encoder.fuse, features)
            thumbnails = await live.thumbnails([point.record.item_id for point in with_features])
            now = datetime.now(UTC)
            await target.store.upsert(
                [
                    GalleryPoint(replace(point.record, indexed_at=now), embedding, thumbnails.get(point.record.item_id))
                    for point, embedding in zip(with_features, embeddings, strict=True)
                ]
            )
            after = await live.fetch([point.record.item_id for point in with_features])
            gone = [point.record.item_id for point in with_features if point.record.item_id not in after]
            await target.store.delete(gone)
            points = [
                after[point.record.item_id]
                for point in with_features
                if point.record.item_id in after and not _same(after[point.record.item_id], point)
            ]

    def _note_missing(self, points: Sequence[GalleryPoint]) -> None:
        self.missing += len(points)
        self.missing_ids = [*self.missing_ids, *(point.record.item_id for point in points)][:_NAMED_IDS]

    def _result(self) -> FusedCollection:
        return FusedCollection(
            space=self.target.manifest.space, missing=self.missing, missing_ids=list(self.missing_ids)
        )


def _same(one: GalleryPoint | None, other: GalleryPoint) -> bool:
    """Return whether two points have the same content and payload."""
    return (
        one is not None
        and one.record.content_sha256 == other.record.content_sha256
        and one.record.payload == other.record.payload
    )
