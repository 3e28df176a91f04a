"""The composition root of the query service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from importlib.metadata import version

from fastapi import FastAPI

from aff_contracts.bundle import BundleManifest, load_manifest, verify_files
from aff_contracts.errors import StoreError
from aff_contracts.gallery_store.gallery_store import GalleryStore
from aff_contracts.gallery_store.open_store import open_store
from aff_contracts.web.service import create_service
from query_api.components import Components
from query_api.onnx_query_encoder import OnnxQueryEncoder
from query_api.routes import router
from query_api.search_gallery import SearchGallery
from query_api.search_metrics import SearchMetrics
from query_api.settings import QuerySettings
from query_api.space_guard import SpaceGuard

_logger = logging.getLogger(__name__)


def create_app(settings: QuerySettings, store: GalleryStore | None = None) -> FastAPI:
    """Make the service; bundle and store are opened when it starts.

    Args:
        settings: How it runs.
        store: A store that is shared with others and that they close; None opens the one of the settings.

    Returns:
        The application. Its start raises BundleError where the bundle is missing or altered, or has no query encoder
        of the precision that the settings ask for, and StoreError where the embedded store cannot be opened. A server
        that is away, a gallery that is missing or of another space, leave it running but not ready.
    """

    def lifespan(app: FastAPI) -> AbstractAsyncContextManager[None]:
        return _running(app, settings, store)

    app = create_service(
        title="Query service",
        description="Searches a gallery with a photograph: one light encoder, one vector search.",
        version=version("aff-query-api"),
        lifespan=lifespan,
        max_body_bytes=settings.max_body_bytes,
    )
    app.include_router(router)
    return app


@asynccontextmanager
async def _running(app: FastAPI, settings: QuerySettings, shared_store: GalleryStore | None) -> AsyncIterator[None]:
    manifest, encoder = await asyncio.to_thread(_load_bundle, settings)
    async with AsyncExitStack() as stack:
        store = shared_store
        if store is None:
            store = await open_store(settings.store)
            stack.push_async_callback(store.close)
        guard = SpaceGuard(store, manifest.space, settings.space_check_interval_s)
        search_gallery = SearchGallery(
            store,
            encoder,
            manifest.fingerprint,
            guard,
            settings.image_limits,
            SearchMetrics(app.state.registry),
            threads=settings.search_threads,
        )
        stack.enter_context(closing(search_gallery))
        app.state.components = Components(settings, manifest, guard, search_gallery)
        await _say_whether_ready(guard)
        yield


def _load_bundle(settings: QuerySettings) -> tuple[BundleManifest, OnnxQueryEncoder]:
    manifest = load_manifest(settings.bundle_path)
    verify_files(settings.bundle_path, manifest, manifest.query_files)
    encoder = OnnxQueryEncoder.load(
        settings.bundle_path, manifest, threads=settings.onnx_threads, precision=settings.precision
    )
    _logger.info("query encoder of precision %s", encoder.precision)
    return manifest, encoder


async def _say_whether_ready(guard: SpaceGuard) -> None:
    try:
        await guard.require_same_space()
    except StoreError as error:
        _logger.warning("not ready: %s", error)
