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
        self._starting = asyncio.Lock()
        self.status = RefusingStatus()
        """How far the present or last job is."""

    async def start(self, bundle_name: str) -> RefusingStatus:
        """Create the collection of a bundle, as a build does, and begin to fill it.

        Raises:
            RefusingError: No tokens are kept, a job runs already, or the bundle has other extractors than the live one.
            BundleUnknownError: There is no such bundle.
            BundleError: It cannot be used.
            StoreError: The store failed.
        """
        if self._tokens is None:
            raise RefusingError("this service keeps no tokens (AFF_INDEX_KEPT_TOKENS_PATH)")
        async with self._starting:
            return await self._start(bundle_name, self._tokens)

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

    async def _start(self, bundle_name: str, tokens: KeptTokens) -> RefusingStatus:
        if self._job is not None and not self._job.done():
            raise RefusingError("the gallery is being fused again already")
        live = await self._collections.live()
        kind = TokenKind.of(self._collections.manifest_of(bundle_name))
        if kind.extractors != TokenKind.of(live.manifest).extractors:
            detail = "it has other extractors than the live bundle, so it has to be built from the sources"
            raise RefusingError(detail, item=bundle_name)
        built = await self._collections.build(bundle_name)
        total = await live.store.count()
        target = self._collections.opened(built.space.id)
        if target is None:
            raise RefusingError("its collection was dropped at once", item=bundle_name)
        self.status = RefusingStatus(state="running", total=total, space=built.space)
        self._job = asyncio.create_task(self._run(tokens, live.store, target))
        self._job.add_done_callback(self._note_end)
        return self.status

    async def _run(self, tokens: KeptTokens, live: GalleryStore, target: OpenedCollection) -> None:
        cursor: str | None = None
        with target.in_use():
            while True:
                page = await live.scroll(limit=_PAGE, cursor=cursor)
                await self._fill(tokens, page.points, live, target)
                self.status = self.status.model_copy(update={"done": self.status.done + len(page.points)})
                cursor = page.cursor
                if cursor is None:
                    return

    def _note_end(self, job: asyncio.Task[None]) -> None:
        """Set the status of a job that ended, however it did."""
        detail = None
        if job.cancelled():
            detail = "the service was stopped"
        elif isinstance(error := job.exception(), AffError):
            _logger.warning("fusing again ended early: %s", error)
            detail = str(error)
        elif error is not None:
            _logger.error("fusing again failed", exc_info=error)
            detail = "the service failed on it; its log has the reason"
        state = "finished" if detail is None else "failed"
        self.status = self.status.model_copy(update={"state": state, "detail": detail})

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
