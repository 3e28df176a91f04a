"""Indexes into every collection of the gallery, so that a switch between collections loses no image."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from aff_shared.bundles.bundle import BundleManifest, ServedManifest, load_manifest
from aff_shared.bundles.bundle_repository import BundleRepository
from aff_shared.errors import EmbeddingSpaceMismatchError, StoreUnavailableError
from aff_shared.schemas.indexing import LookupImage, Receipt
from aff_shared.single_flight import SingleFlight
from aff_shared.store.gallery_catalogue import Collection, GalleryCatalogue, find_collection, live_one
from aff_shared.store.gallery_store import GalleryStore
from aff_shared.store.retry import retry_for
from gallery_indexer.collections.collection_runtime import CollectionRuntime
from gallery_indexer.collections.opened_collections import OpenedCollections
from gallery_indexer.indexing.index_gallery import merge_receipts
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.index_task import UploadedImage

_logger = logging.getLogger(__name__)


class IndexCollections:
    """Holds an encoder for every collection, and indexes into all of them.

    A collection whose bundle is not in the repository is not written: an error if it is live, otherwise logged. Nor is
    an imported collection, since no model embeds photographs for it; images go into the others. Other processes may
    create, switch or drop collections; this one detects it within `interval_s`.

    Args:
        catalogue: The collections.
        bundles: The bundle repository.
        default: The opened default bundle; its collection is created if there is none.
        open_collection: Opens the collection of a bundle, given the bundle's directory.
        metrics: Counts receipts.
        interval_s: How long the list of collections is cached, in seconds.
        store_wait_s: Longest wait for an unavailable store, in seconds.
        create_gallery: When the first collection is created automatically; see IndexerSettings.
    """

    def __init__(
        self,
        catalogue: GalleryCatalogue,
        bundles: BundleRepository,
        default: CollectionRuntime,
        open_collection: Callable[[Path], Awaitable[CollectionRuntime]],
        metrics: IndexMetrics,
        *,
        interval_s: float,
        store_wait_s: float,
        create_gallery: Literal["auto", "always", "never"] = "auto",
    ) -> None:
        self._catalogue = catalogue
        self._bundles = bundles
        self._default_space = default.manifest.space
        self._metrics = metrics
        self._interval_s = interval_s
        self._store_wait_s = store_wait_s
        self._create_gallery = create_gallery
        self.seen = False
        """Whether a live collection was ever seen."""
        self.opened = OpenedCollections(default, open_collection)
        """What this process has opened."""
        self._payload_indexed: set[str] = set()
        self._collections: Sequence[Collection] = []
        self._cached_until = -1.0
        self._refreshing = asyncio.Lock()
        self._shared_refresh = SingleFlight(self.refresh)

    async def refresh(self) -> Sequence[Collection]:
        """Read the list of collections, open and close encoders accordingly, and create the first collection.

        Raises:
            GalleryMissingError: No collection is live, and there was one before, or none may be created.
            EmbeddingSpaceMismatchError: The repository has no bundle of the live collection's space.
            BundleError: A bundle cannot be used.
            StoreError: The store failed.
        """
        async with self._refreshing:
            collections: Sequence[Collection] = await self._catalogue.collections()
            if not any(collection.live for collection in collections):
                self.seen = self.seen or (self._create_gallery != "always" and await self._catalogue.was_begun())
                if self.seen or self._create_gallery == "never":
                    live_one(collections, seen=self.seen)
                collections = await self._create_first()
            self.seen = True
            await self._open_and_close(collections)
            self._collections = collections
            self._cached_until = time.monotonic() + self._interval_s
            return collections

    async def live(self) -> CollectionRuntime:
        """Return the live collection; errors as `refresh`, after waiting for an unavailable store.

        Raises:
            EncoderMissingError: It was imported.
        """
        return self.opened.written((await self._live()).space.id)

    async def live_store(self) -> GalleryStore:
        """Return the store of the live collection, also of an imported one; errors as `refresh`."""
        return await self._catalogue.collection((await self._live()).space)

    async def ready(self) -> ServedManifest:
        """Return the manifest of the live collection after a refresh; errors as `refresh`.

        Does not wait for an unavailable store; concurrent callers share one refresh.
        """
        await self._shared_refresh.make()
        manifest = self.opened.manifest((await self._live()).space.id)
        assert manifest is not None, "the live collection is open"
        return manifest

    async def receipts(self, images: Sequence[UploadedImage]) -> AsyncGenerator[Receipt, None]:
        """Index images into every collection; yield a receipt per image when it is done in all of them.

        Raises:
            EmbeddingSpaceMismatchError: The repository has no bundle of the live collection's space.
            EncoderMissingError: The gallery was imported, and no other collection is built.
            StoreError: The store failed; points written before remain.
        """
        opened = await self._current()
        streams = [collection.index_gallery.receipts(images) for collection in opened]
        merged = streams[0] if len(streams) == 1 else merge_receipts(streams)
        with ExitStack() as uses:
            for collection in opened:
                uses.enter_context(collection.in_use())
            try:
                async for receipt in merged:
                    self._metrics.count(receipt)
                    yield receipt
            finally:
                await merged.aclose()

    async def index(self, images: Sequence[UploadedImage]) -> list[Receipt]:
        """Index images as `receipts`; return the receipts in the images' order."""
        return sorted([receipt async for receipt in self.receipts(images)], key=lambda receipt: receipt.index)

    async def up_to_date(self, images: Sequence[LookupImage]) -> list[str]:
        """Return the ids of those images that are up to date in every collection; errors as `receipts`."""
        found = [await collection.index_gallery.up_to_date(images) for collection in await self._current()]
        everywhere = set[str].intersection(*map(set, found))
        return [item_id for item_id in found[0] if item_id in everywhere]

    async def stores(self) -> list[GalleryStore]:
        """Return the store of every collection, also of those without a bundle, the live one first."""
        return [await self._catalogue.collection(collection.space) for collection in await self.refresh()]

    def manifest_of(self, bundle_name: str) -> BundleManifest:
        """Return the manifest of a bundle of the repository; raises BundleError."""
        return load_manifest(self._bundles.named(bundle_name))

    async def build(self, bundle_name: str) -> Collection:
        """Create the collection of a bundle in addition to the live one; it receives every write from now on.

        Raises:
            BundleUnknownError: There is no such bundle.
            BundleError: The bundle cannot be used.
            CollectionNotFoundError: Another process dropped the collection at once.
            StoreError: The store failed.
        """
        path = self._bundles.named(bundle_name)
        space = self.manifest_of(bundle_name).space
        async with self._refreshing:
            live_one(await self._catalogue.collections(), seen=self.seen)
            await self.opened.open(space.id, path)
            await self._catalogue.create(space)
        return find_collection(await self.refresh(), space.id)

    async def create(self) -> None:
        """Create an empty gallery if no collection is live; errors as `refresh`."""
        async with self._refreshing:
            if any(collection.live for collection in await self._catalogue.collections()):
                return
            await self._create_first()
        await self.reopen()

    async def reopen(self) -> None:
        """Close and reopen every collection, after a restoration; errors as `refresh`."""
        async with self._refreshing:
            self.opened.keep(())
            self._payload_indexed.clear()
            self._collections = []  # so that `live` waits for an unavailable store, and then raises
            self._cached_until = -1.0
        await self.refresh()

    async def close(self) -> None:
        """Close every collection, also those in use."""
        self._shared_refresh.cancel()
        await self.opened.close()

    async def _current(self) -> list[CollectionRuntime]:
        """Return the collections that are written, the live one first."""
        live = await self._live()
        opened = [self.opened.runtime(collection.space.id) for collection in self._collections]
        return [one for one in opened if one is not None] or [self.opened.written(live.space.id)]

    async def _live(self) -> Collection:
        """Return the live collection, whose manifest is known; errors as `refresh`."""
        if time.monotonic() >= self._cached_until:
            try:
                await retry_for(self._shared_refresh.make, wait_s=0.0 if self._collections else self._store_wait_s)
            except StoreUnavailableError:
                if not self._collections:  # else the writes wait
                    raise
        live = live_one(self._collections)
        if self.opened.manifest(live.space.id) is None:
            raise self._mismatch(live)
        return live

    async def _create_first(self) -> Sequence[Collection]:
        """Create the default bundle's collection and make it live, also if another one was live before."""
        _logger.info("there is no gallery: creating an empty one")
        await self._catalogue.create(self._default_space)
        await self._catalogue.switch(self._default_space.id)
        return await self._catalogue.collections()

    async def _open_and_close(self, collections: Sequence[Collection]) -> None:
        for collection in collections:
            if self.opened.manifest(collection.space.id) is None:
                await self._open(collection)
            if self.opened.manifest(collection.space.id) and collection.space.id not in self._payload_indexed:
                await (await self._catalogue.collection(collection.space)).index_payload()
                self._payload_indexed.add(collection.space.id)
        present = {collection.space.id for collection in collections}
        self.opened.keep(present)
        self._payload_indexed &= present

    async def _open(self, collection: Collection) -> None:
        path = await asyncio.to_thread(self._bundles.of_space, collection.space.id)
        if path is not None:
            await self.opened.open(collection.space.id, path)
        elif collection.live:
            raise self._mismatch(collection)
        else:
            _logger.warning("no bundle for the collection %s: it is not updated", collection.space.id[:12])

    def _mismatch(self, live: Collection) -> EmbeddingSpaceMismatchError:
        try:
            self._default_space.require_same(live.space, here="the model bundle", there="the gallery")
        except EmbeddingSpaceMismatchError as error:
            return error
        return EmbeddingSpaceMismatchError("the model bundle was replaced after the service started; restart it")
