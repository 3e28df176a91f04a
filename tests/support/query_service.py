"""The query service on a tiny encoder, in this process, and a gallery of plain colours for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from starlette.types import ASGIApp

from aff_shared.bundles.bundle import BundleManifest
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.settings import StoreSettings
from query_api.app import create_app
from query_api.settings import QuerySettings
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.gallery_points import make_point
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.tiny_query_encoder import DIMENSION, tiny_embedding, tiny_query_encoder

MAX_BODY_BYTES = 200_000
MAX_LIMIT = 20

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


@dataclass(frozen=True)
class QueryService:
    """A bundle on disk, and the settings of a service that uses it and reads the store at every search."""

    settings: QuerySettings
    manifest: BundleManifest

    @asynccontextmanager
    async def running(
        self,
        gallery: MemoryGalleryStore | MemoryGalleryCatalogue | None = None,
        *,
        wrapped: Callable[[ASGIApp], ASGIApp] = lambda app: app,
    ) -> AsyncIterator[httpx.AsyncClient]:
        catalogue = MemoryGalleryCatalogue(gallery) if isinstance(gallery, MemoryGalleryStore) else gallery
        app = create_app(self.settings, catalogue)
        transport = httpx.ASGITransport(app=wrapped(app), raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://query") as client,
        ):
            yield client


def tiny_query_service(directory: Path) -> QueryService:
    """Write a bundle with the tiny encoder below `directory`."""
    bundle = directory / "bundle"
    bundle.mkdir()
    manifest = write_dummy_bundle(bundle, dimension=DIMENSION, query_encoder=tiny_query_encoder())
    settings = QuerySettings(
        bundle_path=bundle,
        max_body_bytes=MAX_BODY_BYTES,
        default_limit=2,
        max_limit=MAX_LIMIT,
        search_threads=2,
        space_check_interval_s=0,
        store=StoreSettings(url="", edge_path=directory / "gallery"),
    )
    return QueryService(settings, manifest)


async def colour_gallery(space: EmbeddingSpace) -> MemoryGalleryStore:
    """Return a gallery of one plain photograph for each of COLOURS; the payload contains whether it is warm."""
    store = MemoryGalleryStore()
    await store.create(space)
    await store.upsert(
        [make_point(name, tiny_embedding(colour), {"warm": name == "red"}) for name, colour in COLOURS.items()]
    )
    return store
