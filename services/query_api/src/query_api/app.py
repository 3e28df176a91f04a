"""The composition root of the query service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware import Middleware

from aff_shared.bundles.bundle import ServedManifest, load_served_manifest
from aff_shared.bundles.bundle_repository import BundleRepository, verify_signature
from aff_shared.errors import BundleError, StoreError
from aff_shared.images.size import PixelBudget
from aff_shared.store.gallery_catalogue import GalleryCatalogue, open_catalogue
from aff_shared.web.service import create_service
from query_api.components import Components
from query_api.embedding.embedding_process import EmbeddingProcess
from query_api.embedding.photograph_embedder import OnnxModelRef
from query_api.embedding.query_encoder import choose_precision
from query_api.http.encoder_routes import router as encoder_router
from query_api.http.gallery_routes import page_router
from query_api.http.gallery_routes import router as gallery_router
from query_api.http.page_files import install_page
from query_api.http.routes import LoadSheddingMiddleware, operation_router, router
from query_api.search.active_model import ActiveModel, LoadedEncoder
from query_api.search.browse_gallery import BrowseGallery
from query_api.search.search_gallery import SearchGallery
from query_api.search.search_queue import SearchMetrics, SearchQueue
from query_api.search.vector_search import VectorSearch
from query_api.settings import QuerySettings

_logger = logging.getLogger(__name__)


def create_app(settings: QuerySettings, catalogue: GalleryCatalogue | None = None) -> FastAPI:
    """Make the service; bundle and store are opened when it starts.

    Args:
        settings: How it runs.
        catalogue: A gallery that is shared with others and that they close; None opens the one of the settings.

    Returns:
        The application. Its start raises BundleError where the bundle is missing or altered, or has no query encoder
        of the configured precision, and StoreError if the embedded store cannot be opened. If a server is unavailable,
        or the gallery is missing or of another space, the service runs but is not ready.
    """

    def lifespan(app: FastAPI) -> AbstractAsyncContextManager[None]:
        return _running(app, settings, catalogue)

    app = create_service(
        title="Query service",
        description="Searches a gallery with a photograph: one light encoder, one vector search.",
        version=version("aff-query-api"),
        lifespan=lifespan,
        listen=settings,
        middleware=[Middleware(LoadSheddingMiddleware)],
    )
    for included in (operation_router, router, gallery_router, encoder_router):
        app.include_router(included)
    if settings.page:
        app.include_router(page_router)  # before the files below the same path
        install_page(app, root_path=settings.root_path, indexer_url=settings.page_indexer_url)
    return app


@asynccontextmanager
async def _running(app: FastAPI, settings: QuerySettings, shared: GalleryCatalogue | None) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        embedder = _embedding_process(settings)
        stack.push_async_callback(embedder.close)

        async def load(path: Path) -> LoadedEncoder:
            manifest = await asyncio.to_thread(_read_manifest, path, settings)
            if manifest.query_encoder is None:
                _logger.info("%s has no query encoder: searches need an embedding or an image's id", manifest.title)
                return LoadedEncoder(manifest, None)
            graph = OnnxModelRef(
                path, manifest.fingerprint, choose_precision(manifest.query_encoder, settings.precision)
            )
            await embedder.load(graph)
            _logger.info("query encoder of precision %s", graph.precision)
            return LoadedEncoder(manifest, graph)

        first = await load(settings.bundle_path)
        catalogue = shared
        if catalogue is None:
            catalogue = await open_catalogue(settings.store)
            stack.push_async_callback(catalogue.close)
        gallery = ActiveModel(
            catalogue,
            BundleRepository(settings.bundle_path),
            first,
            load,
            settings.space_check_interval_s,
        )
        stack.push_async_callback(gallery.close)
        metrics = SearchMetrics(app.state.registry)
        queue = SearchQueue(
            settings.max_active_searches, settings.max_waiting_searches, settings.max_wait_ms / 1000, metrics
        )
        finder = VectorSearch(settings.expansion_alpha, settings.group_reach, settings.default_limit)
        search_gallery = SearchGallery(gallery, embedder, finder, queue, metrics)
        browse_gallery = BrowseGallery(gallery, queue, settings.store.indexed_keys, settings.max_limit)
        app.state.components = Components(settings, gallery, search_gallery, browse_gallery, queue)
        await _log_readiness(gallery, first)
        yield


def _embedding_process(settings: QuerySettings) -> EmbeddingProcess:
    budget = PixelBudget(
        settings.max_large_pixels,
        settings.image_limits,
        max_waiting=settings.max_active_searches // 2,
        max_wait_s=settings.max_wait_ms / 1000,
    )
    return EmbeddingProcess(
        settings.image_limits, budget, settings.search_threads, settings.onnx_threads, settings.embed_timeout_s
    )


def _read_manifest(path: Path, settings: QuerySettings) -> ServedManifest:
    if settings.bundle_public_key is not None:
        verify_signature(path, settings.bundle_public_key)
    return load_served_manifest(path)


async def _log_readiness(gallery: ActiveModel, first: LoadedEncoder) -> None:
    try:
        serving = await gallery.require_live()
        _logger.info("searches with bundle %s", serving.manifest.title)
        if serving.manifest.space != first.manifest.space:
            _logger.warning(
                "the gallery was indexed with %s and is searched with it; %s has no collection yet "
                "(aff gallery build, aff gallery switch)",
                serving.manifest.name,
                first.manifest.name,
            )
    except (StoreError, BundleError) as error:
        _logger.warning("not ready: %s", error)
