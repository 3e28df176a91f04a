"""Every write reaches every collection of the gallery, so that a switch from one to another loses nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from aff_shared.bundles.bundle import BundleManifest, load_manifest
from aff_shared.bundles.bundle_repository import BundleRepository
from aff_shared.errors import EmbeddingSpaceMismatchError, StoreUnavailableError
from aff_shared.schemas.indexing import LookupImage, Receipt
from aff_shared.single_flight import SingleFlight
from aff_shared.store.gallery_catalogue import Collection, GalleryCatalogue, find_collection, live_one
from aff_shared.store.gallery_store import GalleryStore
from aff_shared.store.retry import retry_for
from gallery_indexer.collections.collection_runtime import CollectionRuntime
from gallery_indexer.collections.merge_receipts import merge_receipts
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.uploaded_image import UploadedImage

_logger = logging.getLogger(__name__)


class IndexCollections:
    """Keeps a model for every collection, and indexes into all of them.

    A collection whose bundle does not lie on the shelf gets nothing: that is told, and matters only where it is live.
    Another process may create, switch or drop collections; this one notices within `interval_s`.

    Args:
        catalogue: The collections.
        shelf: Where the bundles lie.
        first: The shelf's default, opened; its collection is created where there is none.
        open_collection: Loads a bundle, given its directory.
        metrics: Learns of receipts.
        interval_s: For how long the list of collections is trusted, in seconds.
        store_wait_s: Longest wait for a store that is away, in seconds.
        create_gallery: When the first collection is created by itself; see IndexerSettings.
    """

    def __init__(
        self,
        catalogue: GalleryCatalogue,
        shelf: BundleRepository,
        first: CollectionRuntime,
        open_collection: Callable[[Path], Awaitable[CollectionRuntime]],
        metrics: IndexMetrics,
        *,
        interval_s: float,
        store_wait_s: float,
        create_gallery: Literal["auto", "always", "never"] = "auto",
    ) -> None:
        self._catalogue = catalogue
        self._shelf = shelf
        self._default_space = first.manifest.space
        self._open_collection = open_collection
        self._metrics = metrics
        self._interval_s = interval_s
        self._store_wait_s = store_wait_s
        self._create_gallery = create_gallery
        self.seen = False
        self._opened = {first.manifest.space.id: first}
        self._payload_indexed: set[str] = set()
        self._retired: dict[CollectionRuntime, asyncio.Task[None]] = {}
        self._collections: Sequence[Collection] = []
        self._trusted_until = -1.0
        self._refreshing = asyncio.Lock()
        self._noticing = SingleFlight(self.refresh)

    async def refresh(self) -> Sequence[Collection]:
        """Read which collections there are, and open and close accordingly; the first one is created.

        Raises:
            GalleryMissingError: None is live, and one was, or none is to be created.
            EmbeddingSpaceMismatchError: No bundle of the live collection's space lies on the shelf.
            BundleError: A bundle cannot be used.
            StoreError: The store failed.
        """
        async with self._refreshing:
            collections: Sequence[Collection] = await self._catalogue.collections()
            if not any(collection.live for collection in collections):
                self.seen = self.seen or (self._create_gallery != "always" and await self._catalogue.was_begun())
                if self.seen or self._create_gallery == "never":
                    live_one(collections, seen=self.seen)
                collections = await self._begin()
            self.seen = True
            await self._open_and_close(collections)
            self._collections = collections
            self._trusted_until = time.monotonic() + self._interval_s
            return collections

    async def live(self) -> CollectionRuntime:
        """Return the live collection; errors as `refresh`, after waiting for a store that is away."""
        return (await self._current())[0]

    async def ready(self) -> CollectionRuntime:
        """Return the live collection as the store tells it now; errors as `refresh`.

        A store that is away is not waited for, and those who ask at the same time share the answer.
        """
        await self._noticing.make()
        return await self.live()

    def opened(self, space_id: str) -> CollectionRuntime | None:
        """Return a collection that is written to; None where its bundle is missing."""
        return self._opened.get(space_id)

    async def receipts(self, images: Sequence[UploadedImage]) -> AsyncGenerator[Receipt, None]:
        """Index images into every collection; a receipt for each as soon as it is done everywhere.

        Raises:
            EmbeddingSpaceMismatchError: No bundle of the live collection's space lies on the shelf.
            StoreError: The store failed; what was written before stays.
        """
        opened = await self._current()
        streams = [collection.index_gallery.receipts(images) for collection in opened]
        merged = streams[0] if len(streams) == 1 else merge_receipts(streams)
        with ExitStack() as users:
            for collection in opened:
                users.enter_context(collection.in_use())
            try:
                async for receipt in merged:
                    self._metrics.count(receipt)
                    yield receipt
            finally:
                await merged.aclose()

    async def index(self, images: Sequence[UploadedImage]) -> list[Receipt]:
        """Index images as `receipts`, and return the receipts in the images' order."""
        return sorted([receipt async for receipt in self.receipts(images)], key=lambda receipt: receipt.index)

    async def up_to_date(self, images: Sequence[LookupImage]) -> list[str]:
        """Return the ids of those images that every collection holds just so; errors as `receipts`."""
        known = [await collection.index_gallery.up_to_date(images) for collection in await self._current()]
        everywhere = set[str].intersection(*map(set, known))
        return [item_id for item_id in known[0] if item_id in everywhere]

    async def stores(self) -> list[GalleryStore]:
        """Return the store of every collection, whether its bundle is here or not, the live one first."""
        return [await self._catalogue.collection(collection.space) for collection in await self.refresh()]

    def manifest_of(self, bundle_name: str) -> BundleManifest:
        """Return the manifest of a bundle of the shelf; raises BundleError."""
        return load_manifest(self._shelf.named(bundle_name))

    async def build(self, bundle_name: str) -> Collection:
        """Create the collection of a bundle beside the live one; from now on it gets every write.

        Raises:
            BundleUnknownError: There is no such bundle.
            BundleError: It cannot be used.
            CollectionNotFoundError: Another process dropped the collection at once.
            StoreError: The store failed.
        """
        path = self._shelf.named(bundle_name)
        space = self.manifest_of(bundle_name).space
        async with self._refreshing:
            live_one(await self._catalogue.collections(), seen=self.seen)
            if space.id not in self._opened:
                self._opened[space.id] = await self._open_collection(path)
            await self._catalogue.create(space)
        return find_collection(await self.refresh(), space.id)

    async def create(self) -> None:
        """Begin an empty gallery where none is live; errors as `refresh`."""
        async with self._refreshing:
            if any(collection.live for collection in await self._catalogue.collections()):
                return
            await self._begin()
        await self.reopen()

    async def reopen(self) -> None:
        """Open every collection anew, after a restoration; errors as `refresh`."""
        async with self._refreshing:
            for space_id in list(self._opened):
                self._retire(self._opened.pop(space_id))
            self._payload_indexed.clear()
            self._collections = []  # so that a store that is away is waited for, and then named
            self._trusted_until = -1.0
        await self.refresh()

    async def close(self) -> None:
        """Close every collection, also those that are in use."""
        self._noticing.cancel()
        while self._opened:
            self._retire(self._opened.popitem()[1])
        for collection in self._retired:
            collection.stop_waiting()
        await asyncio.gather(*self._retired.values())

    async def _current(self) -> list[CollectionRuntime]:
        """Return the collections that are written to, the live one first."""
        if time.monotonic() >= self._trusted_until:
            try:
                wait_s = 0.0 if self._collections else self._store_wait_s
                await retry_for(self._noticing.make, wait_s=wait_s)
            except StoreUnavailableError:
                if not self._collections:  # else the writes themselves wait
                    raise
        live = live_one(self._collections)
        opened = [self._opened.get(collection.space.id) for collection in self._collections]
        if opened[0] is None:
            raise self._mismatch(live)
        return [collection for collection in opened if collection is not None]

    async def _begin(self) -> Sequence[Collection]:
        """Create the first collection, and make it live also where another one was."""
        _logger.info("there is no gallery: an empty one is begun")
        await self._catalogue.create(self._default_space)
        await self._catalogue.switch(self._default_space.id)
        return await self._catalogue.collections()

    async def _open_and_close(self, collections: Sequence[Collection]) -> None:
        for collection in collections:
            if collection.space.id not in self._opened:
                await self._open(collection)
            opened = self._opened.get(collection.space.id)
            if opened is not None and collection.space.id not in self._payload_indexed:
                await opened.store.index_payload()
                self._payload_indexed.add(collection.space.id)
        there = {collection.space.id for collection in collections}
        for space_id in self._opened.keys() - there:
            self._retire(self._opened.pop(space_id))
            self._payload_indexed.discard(space_id)

    async def _open(self, collection: Collection) -> None:
        path = await asyncio.to_thread(self._shelf.of_space, collection.space.id)
        if path is not None:
            self._opened[collection.space.id] = await self._open_collection(path)
        elif collection.live:
            raise self._mismatch(collection)
        else:
            _logger.warning("no bundle for the collection %s: it goes stale", collection.space.id[:12])

    def _retire(self, collection: CollectionRuntime) -> None:
        """Close a collection in the background, once the requests that still use it have ended."""
        self._retired[collection] = asyncio.create_task(collection.close_when_unused())
        self._retired[collection].add_done_callback(lambda _: self._retired.pop(collection))

    def _mismatch(self, live: Collection) -> EmbeddingSpaceMismatchError:
        try:
            self._default_space.require_same(live.space, here="the model bundle", there="the gallery")
        except EmbeddingSpaceMismatchError as error:
            return error
        return EmbeddingSpaceMismatchError("the model bundle was replaced since the service started; start it again")
