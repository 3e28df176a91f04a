"""The composition root of the gallery indexer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI

from aff_shared.bundles.bundle_repository import BundleRepository
from aff_shared.errors import StoreError
from aff_shared.images.size import PixelBudget
from aff_shared.schemas.indexing import IndexLine
from aff_shared.store.gallery_catalogue import GalleryCatalogue, open_catalogue
from aff_shared.web.routing import document_schemas
from aff_shared.web.service import create_service
from gallery_indexer.collections.backup_gallery import BackupGallery
from gallery_indexer.collections.collection_runtime import (
    ENCODER_LOADERS,
    CollectionRuntime,
    LoadedBundle,
    load_bundle,
)
from gallery_indexer.collections.edit_gallery import EditGallery
from gallery_indexer.collections.gallery_jobs import GalleryJobs
from gallery_indexer.collections.index_collections import IndexCollections
from gallery_indexer.collections.remix_gallery import RemixGallery
from gallery_indexer.components import Components
from gallery_indexer.features.feature_cache import FeatureCache
from gallery_indexer.features.image_encoder import EncoderLoader
from gallery_indexer.http.gallery_routes import router as gallery_router
from gallery_indexer.http.gallery_routes import status_router
from gallery_indexer.http.routes import operation_router, router
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.payload_limits import PayloadLimits
from gallery_indexer.remote.remote_image_loader import RemoteImageLoader
from gallery_indexer.settings import IndexerSettings

_logger = logging.getLogger(__name__)


def create_app(
    settings: IndexerSettings,
    catalogue: GalleryCatalogue | None = None,
    *,
    load_encoder: EncoderLoader | None = None,
) -> FastAPI:
    """Create the service; bundle and store are opened when it starts.

    Args:
        settings: Settings of the service.
        catalogue: A gallery that the caller shares and closes; None opens the one of the settings.
        load_encoder: Loads the encoder of a bundle; None loads it with the engine of the settings.

    Returns:
        The application. Its start raises BundleError if the bundle is missing or altered, MissingExtraError if an
        extractor needs a package that is not installed, and StoreError if the embedded store cannot be opened. With an
        unavailable server, or a gallery of another space, it runs but is not ready.
    """

    def lifespan(app: FastAPI) -> AbstractAsyncContextManager[None]:
        return _running(app, settings, catalogue, load_encoder or ENCODER_LOADERS[settings.extractor_engine])

    app = create_service(
        title="Gallery indexer",
        description="Embeds photographs with the gallery side of a model bundle and keeps them in Qdrant.",
        version=version("aff-gallery-indexer"),
        lifespan=lifespan,
        listen=settings,
    )
    document_schemas(app, IndexLine)
    for included in (operation_router, status_router, gallery_router, router):
        app.include_router(included)
    return app


@asynccontextmanager
async def _running(
    app: FastAPI, settings: IndexerSettings, shared: GalleryCatalogue | None, load_encoder: EncoderLoader
) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        components = await _open(stack, settings, shared, IndexMetrics(app.state.registry), load_encoder)
        app.state.components = components
        await _try_to_open_gallery(components.collections)
        yield


async def _open(
    stack: AsyncExitStack,
    settings: IndexerSettings,
    shared: GalleryCatalogue | None,
    metrics: IndexMetrics,
    load_encoder: EncoderLoader,
) -> Components:
    bundle = await load_bundle(settings.bundle_path, settings, load_encoder)
    catalogue = shared
    if catalogue is None:
        catalogue = await open_catalogue(settings.store)
        stack.push_async_callback(catalogue.close)
    cache = None
    if settings.kept_tokens_path is not None:
        cache = await asyncio.to_thread(FeatureCache, settings.kept_tokens_path)
        stack.callback(cache.close)
    collections = await _open_collections(bundle, catalogue, settings, metrics, cache, load_encoder)
    stack.push_async_callback(collections.close)
    remote_image_loader = RemoteImageLoader.of_settings(settings)
    stack.push_async_callback(remote_image_loader.close)
    jobs = GalleryJobs()
    stack.push_async_callback(jobs.close)
    payload_schema = settings.store.payload_schema
    return Components(
        settings=settings,
        catalogue=catalogue,
        collections=collections,
        edit_gallery=EditGallery(collections, PayloadLimits(settings.max_payload_bytes, payload_schema)),
        metrics=metrics,
        remote_image_loader=remote_image_loader,
        feature_cache=cache,
        jobs=jobs,
        remix_gallery=RemixGallery(collections, cache),
        backup_gallery=BackupGallery(catalogue, collections, settings.backups_path, payload_schema),
    )


async def _open_collections(
    bundle: LoadedBundle,
    catalogue: GalleryCatalogue,
    settings: IndexerSettings,
    metrics: IndexMetrics,
    cache: FeatureCache | None,
    load_encoder: EncoderLoader,
) -> IndexCollections:
    budget = PixelBudget(settings.max_large_pixels, settings.image_limits)

    async def open_collection(path: Path) -> CollectionRuntime:
        loaded = await load_bundle(path, settings, load_encoder)
        return await CollectionRuntime.open(loaded, catalogue, settings, metrics, cache, budget)

    return IndexCollections(
        catalogue,
        BundleRepository(settings.bundle_path),
        await CollectionRuntime.open(bundle, catalogue, settings, metrics, cache, budget),
        open_collection,
        metrics,
        interval_s=settings.catalogue_interval_s,
        store_wait_s=settings.store_wait_s,
        create_gallery=settings.create_gallery,
    )


async def _try_to_open_gallery(collections: IndexCollections) -> None:
    """Open the gallery if possible; otherwise `GET /readyz` and `POST /index` try again."""
    try:
        await collections.refresh()
        _logger.info("the gallery is of bundle %s", (await collections.ready()).title)
    except StoreError as error:
        _logger.warning("not ready: %s", error)
