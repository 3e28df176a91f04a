"""The model and the collection that searches use: those of the live collection, once its model is loaded."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aff_shared.bundles.bundle import ServedManifest
from aff_shared.bundles.bundle_repository import BundleRepository
from aff_shared.errors import AffError
from aff_shared.single_flight import SingleFlight
from aff_shared.store.gallery_catalogue import Collection, GalleryCatalogue, live_one
from aff_shared.store.gallery_store import GalleryStore
from query_api.embedding.photograph_embedder import OnnxModelRef
from query_api.embedding.query_encoder import query_encoder_of

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """A bundle, and the graph of it that photographs are encoded with; None if it has no query encoder."""

    manifest: ServedManifest
    graph: OnnxModelRef | None


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """Model and store of one search; the store is that of the encoder's embedding space."""

    manifest: ServedManifest
    graph: OnnxModelRef | None
    store: GalleryStore

    def require_graph(self) -> OnnxModelRef:
        """Return the graph; raises EncoderMissingError for an imported space without a query encoder."""
        if self.graph is None:
            query_encoder_of(self.manifest)
        assert self.graph is not None, "a bundle with a query encoder was loaded with it"
        return self.graph


class ActiveModel:
    """Follows the live collection without a restart.

    When another collection becomes live, its bundle is searched next to the service's own and loaded in the
    background. The former model serves until then, and also if there is no such bundle.

    Args:
        catalogue: The collections.
        repository: Bundles of the service.
        first: The loaded default bundle.
        load: Function that loads a bundle.
        interval_s: How long a successful response of the catalogue is used, in seconds.
    """

    def __init__(
        self,
        catalogue: GalleryCatalogue,
        repository: BundleRepository,
        first: LoadedEncoder,
        load: Callable[[Path], Awaitable[LoadedEncoder]],
        interval_s: float,
    ) -> None:
        self._catalogue = catalogue
        self._repository = repository
        self._loaded = first
        self._load = load
        self._interval_s = interval_s
        self._trusted_until = -1.0
        self._forgotten = 0
        self._seen = False
        self._loading: asyncio.Task[AffError | None] | None = None
        self._following = SingleFlight(self._follow)

    async def serving(self) -> ModelSnapshot:
        """Return the model and the collection for a search.

        Raises:
            EmbeddingSpaceMismatchError: The repository has no bundle of the live collection's space, and the
                service's own collection does not exist.
            GalleryMissingError: No gallery has been created, or it was deleted.
            BundleError: The bundle of the live collection cannot be used.
            StoreUnavailableError: The store does not respond.
        """
        if time.monotonic() >= self._trusted_until:
            await self._following.make()
        loaded = self._loaded
        store = await self._catalogue.collection(loaded.manifest.space)
        return ModelSnapshot(loaded.manifest, loaded.graph, store)

    async def require_live(self) -> ModelSnapshot:
        """Return the model and the collection if it is the live one; errors as `serving`.

        Raises:
            EmbeddingSpaceMismatchError: Another collection is live, and its bundle is not loaded.
        """
        serving = await self.serving()
        live = live_one(await self._catalogue.collections(), seen=self._seen)
        serving.manifest.space.require_same(live.space, here="the query encoder", there="the gallery")
        return serving

    def forget(self) -> None:
        """Read the catalogue again at the next search: a collection was dropped."""
        self._trusted_until = -1.0
        self._forgotten += 1
        self._following.renew()

    async def close(self) -> None:
        """Cancel loading and following."""
        self._following.cancel()
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])

    async def _follow(self) -> None:
        forgotten = self._forgotten
        collections = await self._catalogue.collections()
        live = live_one(collections, seen=self._seen)
        self._seen = True
        if live.space != self._loaded.manifest.space:
            await self._follow_to(live, collections)
        if forgotten == self._forgotten:
            self._trusted_until = time.monotonic() + self._interval_s

    async def _follow_to(self, live: Collection, collections: Sequence[Collection]) -> None:
        path = await asyncio.to_thread(self._repository.of_space, live.space.id)
        ours_is_there = any(collection.space == self._loaded.manifest.space for collection in collections)
        if path is None:
            if not ours_is_there:
                self._loaded.manifest.space.require_same(live.space, here="the query encoder", there="the gallery")
            _logger.warning("no bundle for the live collection %s: the former one serves on", live.space.id[:12])
            return
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load_from(path))
        if ours_is_there and self._loaded.graph is not None:
            return  # the former one serves meanwhile
        failure = await self._loading
        if failure and not ours_is_there:
            raise failure

    async def _load_from(self, path: Path) -> AffError | None:
        """Load a bundle, or return the error."""
        try:
            self._loaded = await self._load(path)
        except AffError as error:
            _logger.warning("cannot follow the live collection: %s", error)
            return error
        manifest = self._loaded.manifest
        _logger.info("searches the live collection %s with bundle %s", manifest.space.id[:12], manifest.title)
        return None
