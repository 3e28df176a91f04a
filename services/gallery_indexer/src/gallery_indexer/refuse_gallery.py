"""Fuses a gallery again with another mixer, from the kept tokens: no image is decoded, no extractor runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from aff_contracts.errors import AffError, RefusingError
from aff_contracts.gallery_store.gallery_store import GalleryPoint, GalleryStore
from aff_contracts.schemas.gallery import RefusingStatus
from gallery_indexer.image_encoder import FeatureFuser
from gallery_indexer.index_collections import IndexCollections
from gallery_indexer.kept_tokens import KeptTokens, TokenKind
from gallery_indexer.opened_collection import OpenedCollection

_PAGE = 128
_NAMED_IDS = 1000

_logger = logging.getLogger(__name__)


class RefuseGallery:
    """A job in the background, one at a time; given again, it goes on with what is not there yet.

    Args:
        collections: The gallery.
        tokens: The kept tokens; None where none are kept.
    """

    def __init__(self, collections: IndexCollections, tokens: KeptTokens | None) -> None:
        self._collections = collections
        self._tokens = tokens
        self._job: asyncio.Task[None] | None = None
        self.status = RefusingStatus()
        """How far the present or last job is."""

    async def start(self, bundle_name: str) -> RefusingStatus:
        """Create the collection of a bundle, as a build does, and begin to fill it.

        Raises:
            RefusingError: No tokens are kept, a job runs already, or the bundle has other extractors than the live one.
            BundleError: There is no such bundle, or it cannot be used.
            StoreError: The store failed.
        """
        if self._tokens is None:
            raise RefusingError("this service keeps no tokens (AFF_INDEX_KEPT_TOKENS_PATH)")
        if self._job is not None and not self._job.done():
            raise RefusingError("the gallery is being fused again already")
        live = await self._collections.live()
        kind = TokenKind.of(self._collections.manifest_of(bundle_name))
        if kind.extractors != TokenKind.of(live.manifest).extractors:
            detail = "it has other extractors than the live bundle, so it has to be built from the sources"
            raise RefusingError(detail, item=bundle_name)
        built = await self._collections.build(bundle_name)
        target = self._collections.opened(built.space.id)
        assert target is not None, "a built collection is opened"
        self.status = RefusingStatus(state="running", total=await live.store.count(), space=built.space)
        self._job = asyncio.create_task(self._run(self._tokens, live, target))
        return self.status

    async def finished(self) -> RefusingStatus:
        """Return how far the job came, once it has ended."""
        if self._job is not None:
            await asyncio.wait([self._job])
        return self.status

    async def close(self) -> None:
        """Give up a running job."""
        if self._job is not None:
            self._job.cancel()
            await asyncio.wait([self._job])

    async def _run(self, tokens: KeptTokens, live: OpenedCollection, target: OpenedCollection) -> None:
        try:
            cursor: str | None = None
            while True:
                page = await live.store.scroll(limit=_PAGE, cursor=cursor)
                await self._fill(tokens, page.points, live.store, target)
                self.status = self.status.model_copy(update={"done": self.status.done + len(page.points)})
                cursor = page.cursor
                if cursor is None:
                    break
            self.status = self.status.model_copy(update={"state": "finished"})
        except AffError as error:
            _logger.warning("fusing again ended early: %s", error)
            self.status = self.status.model_copy(update={"state": "failed", "detail": str(error)})

    async def _fill(
        self, tokens: KeptTokens, points: Sequence[GalleryPoint], live: GalleryStore, target: OpenedCollection
    ) -> None:
        """Write what the target lacks, again where an image was changed meanwhile."""
        while points:
            there = await target.store.fetch([point.record.item_id for point in points])
            lacking = [point for point in points if not _same(there.get(point.record.item_id), point)]
            contents = [point.record.content_sha256 for point in lacking]
            found = await asyncio.to_thread(tokens.fetch, TokenKind.of(target.manifest), contents)
            with_tokens = [point for point in lacking if point.record.content_sha256 in found]
            self._note_missing([point for point in lacking if point.record.content_sha256 not in found])
            if not with_tokens:
                return
            assert isinstance(target.encoder, FeatureFuser), "a gallery encoder fuses"
            features = [found[point.record.content_sha256] for point in with_tokens]
            embeddings = await asyncio.to_thread(target.encoder.fuse, features)
            thumbnails = await live.thumbnails([point.record.item_id for point in with_tokens])
            now = datetime.now(UTC)
            await target.store.upsert(
                [
                    GalleryPoint(replace(point.record, indexed_at=now), embedding, thumbnails.get(point.record.item_id))
                    for point, embedding in zip(with_tokens, embeddings, strict=True)
                ]
            )
            after = await live.fetch([point.record.item_id for point in with_tokens])
            gone = [point.record.item_id for point in with_tokens if point.record.item_id not in after]
            await target.store.delete(gone)
            points = [
                after[point.record.item_id]
                for point in with_tokens
                if point.record.item_id in after and not _same(after[point.record.item_id], point)
            ]

    def _note_missing(self, points: Sequence[GalleryPoint]) -> None:
        ids = [*self.status.missing_ids, *(point.record.item_id for point in points)][:_NAMED_IDS]
        missing = self.status.missing + len(points)
        self.status = self.status.model_copy(update={"missing": missing, "missing_ids": ids})


def _same(one: GalleryPoint | None, other: GalleryPoint) -> bool:
    """Say whether two collections hold the same content and payload."""
    return (
        one is not None
        and one.record.content_sha256 == other.record.content_sha256
        and one.record.payload == other.record.payload
    )
