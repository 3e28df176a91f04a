"""A collection of the gallery with its encoder and indexing pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from aff_shared.bundles.bundle import BundleManifest, load_manifest, verify_files
from aff_shared.bundles.bundle_repository import verify_signature
from aff_shared.images.size import PixelBudget
from aff_shared.store.gallery_catalogue import GalleryCatalogue
from aff_shared.store.gallery_store import GalleryStore
from gallery_indexer.features.feature_cache import FeatureCache, FeatureKind
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.features.image_encoder import EncoderLoader, ImageEncoder
from gallery_indexer.features.networks.layers import device_named
from gallery_indexer.indexing.card_decoder import require_card_decoder
from gallery_indexer.indexing.index_gallery import IndexGallery
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.indexing_pipeline import BATCHES_ALIVE, IndexingPipeline, KeepFeatures
from gallery_indexer.indexing.payload_limits import PayloadLimits
from gallery_indexer.indexing.photograph_preparation import ThumbnailMaker
from gallery_indexer.settings import IndexerSettings
from gallery_indexer.workers.encoder_process import EncoderProcess

ENCODER_LOADERS: Mapping[str, EncoderLoader] = {
    "onnxruntime": GalleryEncoder.load_with_onnx_runtime,
    "torch": GalleryEncoder.load,
}
"""Loads the encoder, by the setting `extractor_engine`."""


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """A bundle with its loaded encoder."""

    manifest: BundleManifest
    encoder: ImageEncoder

    def close(self) -> None:
        """Stop the encoder's process, if it has one."""
        if isinstance(self.encoder, EncoderProcess):
            self.encoder.close()


async def load_bundle(path: Path, settings: IndexerSettings, load_encoder: EncoderLoader) -> LoadedBundle:
    """Verify a bundle and load its gallery side.

    Raises:
        BundleError: The bundle is missing, altered, or incompatible with this release.
        MissingExtraError: An extractor, or the decoder of the settings, needs a package that is not installed.
    """

    def load() -> LoadedBundle:
        if settings.bundle_public_key is not None:
            verify_signature(path, settings.bundle_public_key)
        if settings.jpeg_decoder == "nvimgcodec":
            require_card_decoder()
        manifest = load_manifest(path)
        verify_files(path, manifest, manifest.gallery_files)
        on_gpu = device_named(settings.device).type == "cuda"
        if settings.worker_processes == "never" or not (on_gpu or settings.worker_processes == "always"):
            return LoadedBundle(manifest, load_encoder(path, manifest, device=settings.device))
        encoder = EncoderProcess(
            load_encoder,
            path,
            manifest,
            device=settings.device,
            slots=BATCHES_ALIVE * settings.batch_size,
            timeout_s=settings.encode_timeout_s,
        )
        return LoadedBundle(manifest, encoder)

    return await asyncio.to_thread(load)


@dataclass(slots=True, eq=False)
class CollectionRuntime:
    """Everything that is needed to index into one collection; closed when no request uses it.

    Attributes:
        bundle: The bundle of the collection's embedding space.
        store: The store of the collection.
        index_gallery: Indexes images of a request.
        pipeline: The pipeline that it uses.
    """

    bundle: LoadedBundle
    store: GalleryStore
    index_gallery: IndexGallery
    pipeline: IndexingPipeline
    _users: int = field(default=0, init=False)
    _closable: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        """Start without users."""
        self._closable.set()

    @property
    def manifest(self) -> BundleManifest:
        """The manifest of the bundle."""
        return self.bundle.manifest

    @property
    def encoder(self) -> ImageEncoder:
        """The encoder of the bundle."""
        return self.bundle.encoder

    @classmethod
    async def open(
        cls,
        bundle: LoadedBundle,
        catalogue: GalleryCatalogue,
        settings: IndexerSettings,
        metrics: IndexMetrics,
        cache: FeatureCache | None = None,
        budget: PixelBudget | None = None,
    ) -> CollectionRuntime:
        """Open a collection; if the store fails, the bundle is closed.

        Args:
            bundle: The bundle of the collection's embedding space.
            catalogue: The collections.
            settings: Settings of the indexer.
            metrics: Records receipts and stage times.
            cache: Stores the features of indexed images; None stores none.
            budget: Budget of the pixels of large images, shared by all collections.

        Raises:
            StoreError: The store failed.
        """
        try:
            store = await catalogue.collection(bundle.manifest.space)
        except BaseException:
            await asyncio.to_thread(bundle.close)
            raise
        keep_features = None if cache is None else partial(cache.keep, FeatureKind.of(bundle.manifest))
        pipeline = open_pipeline(bundle.encoder, store, settings, metrics, keep_features, budget)
        index_gallery = IndexGallery(
            store,
            bundle.manifest.space,
            pipeline,
            metrics,
            PayloadLimits(settings.max_payload_bytes, settings.store.payload_schema),
            [extractor.name for extractor in bundle.manifest.extractors],
            store_wait_s=settings.store_wait_s,
        )
        return cls(bundle, store, index_gallery, pipeline)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Count a user of the pipeline or the encoder: they are not closed during the context."""
        self._users += 1
        self._closable.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._closable.set()

    async def close_when_unused(self) -> None:
        """Wait for the users; then stop the encoder's process, if it has one, and the pipeline's workers."""
        await self._closable.wait()
        await asyncio.to_thread(self.bundle.close)  # first: a batch that hangs in it would block the pipeline
        await asyncio.to_thread(self.pipeline.close)

    def stop_waiting(self) -> None:
        """Close in spite of users: the service stops."""
        self._closable.set()


def open_pipeline(
    encoder: ImageEncoder,
    store: GalleryStore,
    settings: IndexerSettings,
    metrics: IndexMetrics,
    keep_features: KeepFeatures | None = None,
    budget: PixelBudget | None = None,
) -> IndexingPipeline:
    """Return a pipeline with these settings."""
    return IndexingPipeline(
        encoder,
        store,
        settings.image_limits,
        metrics,
        batch_size=settings.batch_size,
        batch_wait_s=settings.batch_wait_ms / 1000,
        decode_workers=settings.decode_workers,
        decode_timeout_s=settings.decode_timeout_s,
        store_wait_s=settings.store_wait_s,
        buffer=encoder.buffer if isinstance(encoder, EncoderProcess) else None,
        thumbnails=ThumbnailMaker.of(settings.thumbnail_side, settings.thumbnail_quality),
        keep_features=keep_features,
        budget=budget or PixelBudget(settings.max_large_pixels, settings.image_limits),
        decode_on_card=settings.jpeg_decoder == "nvimgcodec",
    )
