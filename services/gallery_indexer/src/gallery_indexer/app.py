"""The composition root of the gallery indexer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from fastapi import FastAPI

from aff_contracts.bundle import BundleManifest, load_manifest, verify_files
from aff_contracts.errors import StoreError
from aff_contracts.gallery_store.gallery_store import GalleryStore
from aff_contracts.gallery_store.open_store import open_store
from aff_contracts.web.service import create_service
from gallery_indexer.admission import Admission
from gallery_indexer.components import Components
from gallery_indexer.gallery_encoder import GalleryEncoder
from gallery_indexer.image_encoder import ImageEncoder
from gallery_indexer.index_gallery import IndexGallery
from gallery_indexer.index_metrics import IndexMetrics
from gallery_indexer.indexing_pipeline import IndexingPipeline
from gallery_indexer.patient_store import PatientStore
from gallery_indexer.routes import router
from gallery_indexer.settings import IndexerSettings

_logger = logging.getLogger(__name__)


class EncoderLoader(Protocol):
    """Loads the gallery side of a bundle whose files have been verified."""

    def __call__(self, bundle_directory: Path, manifest: BundleManifest, *, device: str) -> ImageEncoder:
        """Load the encoder; raises BundleError or MissingExtraError."""
        ...


def create_app(
    settings: IndexerSettings,
    store: GalleryStore | None = None,
    *,
    load_encoder: EncoderLoader = GalleryEncoder.load,
) -> FastAPI:
    """Make the service; bundle and store are opened when it starts.

    Args:
        settings: How it runs.
        store: A store that is shared with others and that they close; None opens the one of the settings.
        load_encoder: Loads the encoder of the bundle.

    Returns:
        The application. Its start raises BundleError where the bundle is missing or altered, MissingExtraError where
        an extractor needs a package that is not installed, and StoreError where the embedded store cannot be opened. A
        server that is away, or a gallery of another space, leaves it running but not ready.
    """

    def lifespan(app: FastAPI) -> AbstractAsyncContextManager[None]:
        return _running(app, settings, store, load_encoder)

    app = create_service(
        title="Gallery indexer",
        description="Embeds photographs with the gallery side of a model bundle and keeps them in Qdrant.",
        version=version("aff-gallery-indexer"),
        lifespan=lifespan,
        max_body_bytes=settings.max_body_bytes,
    )
    app.include_router(router)
    return app


@asynccontextmanager
async def _running(
    app: FastAPI, settings: IndexerSettings, shared_store: GalleryStore | None, load_encoder: EncoderLoader
) -> AsyncIterator[None]:
    manifest, encoder = await asyncio.to_thread(_load_bundle, settings, load_encoder)
    metrics = IndexMetrics(app.state.registry)
    async with AsyncExitStack() as stack:
        store = shared_store
        if store is None:
            store = await open_store(settings.store)
            stack.push_async_callback(store.close)
        patient = PatientStore(store, wait_s=settings.store_wait_s)
        pipeline = IndexingPipeline(
            encoder,
            patient,
            settings.image_limits,
            metrics,
            batch_size=settings.batch_size,
            batch_wait_s=settings.batch_wait_ms / 1000,
            decode_threads=settings.decode_threads,
        )
        stack.enter_context(closing(pipeline))
        index_gallery = IndexGallery(
            patient, manifest.space, pipeline, metrics, max_payload_bytes=settings.max_payload_bytes
        )
        admission = Admission(settings.max_queued_bytes, largest_bytes=settings.max_body_bytes, metrics=metrics)
        app.state.components = Components(settings, manifest, store, admission, index_gallery)
        await _try_to_create_gallery(store, manifest)
        yield


def _load_bundle(settings: IndexerSettings, load_encoder: EncoderLoader) -> tuple[BundleManifest, ImageEncoder]:
    manifest = load_manifest(settings.bundle_path)
    verify_files(settings.bundle_path, manifest, manifest.gallery_files)
    return manifest, load_encoder(settings.bundle_path, manifest, device=settings.device)


async def _try_to_create_gallery(store: GalleryStore, manifest: BundleManifest) -> None:
    """Create the gallery now where that is possible; `GET /readyz` and `POST /index` try again."""
    try:
        await store.create(manifest.space)
    except StoreError as error:
        _logger.warning("not ready: %s", error)
