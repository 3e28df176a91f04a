"""One collection of the gallery with the model that embeds for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from aff_contracts.bundle import BundleManifest, load_manifest, verify_files
from aff_contracts.gallery_store.gallery_catalogue import GalleryCatalogue
from aff_contracts.gallery_store.gallery_store import GalleryStore
from gallery_indexer.image_encoder import ImageEncoder
from gallery_indexer.index_gallery import IndexGallery
from gallery_indexer.index_metrics import IndexMetrics
from gallery_indexer.indexing_pipeline import IndexingPipeline
from gallery_indexer.kept_tokens import KeptTokens, TokenKind
from gallery_indexer.patient_store import PatientStore
from gallery_indexer.payload_limits import PayloadLimits
from gallery_indexer.settings import IndexerSettings
from gallery_indexer.thumbnail_maker import ThumbnailMaker


class EncoderLoader(Protocol):
    """Loads the gallery side of a bundle whose files have been verified."""

    def __call__(self, bundle_directory: Path, manifest: BundleManifest, *, device: str) -> ImageEncoder:
        """Load the encoder; raises BundleError or MissingExtraError."""
        ...


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """A bundle whose gallery side is loaded."""

    manifest: BundleManifest
    encoder: ImageEncoder


async def load_bundle(path: Path, settings: IndexerSettings, load_encoder: EncoderLoader) -> LoadedBundle:
    """Verify a bundle and load its gallery side.

    Raises:
        BundleError: It is missing, altered, or does not fit this release.
        MissingExtraError: An extractor needs a package that is not installed.
    """

    def load() -> LoadedBundle:
        manifest = load_manifest(path)
        verify_files(path, manifest, manifest.gallery_files)
        return LoadedBundle(manifest, load_encoder(path, manifest, device=settings.device))

    return await asyncio.to_thread(load)


@dataclass(frozen=True, slots=True)
class OpenedCollection:
    """What embeds images and writes them into one collection.

    Attributes:
        manifest: Of the bundle.
        store: Of the collection.
        index_gallery: The use case.
        pipeline: Its pipeline.
        encoder: What embeds.
    """

    manifest: BundleManifest
    store: GalleryStore
    index_gallery: IndexGallery
    pipeline: IndexingPipeline
    encoder: ImageEncoder

    @classmethod
    async def open(
        cls,
        bundle: LoadedBundle,
        catalogue: GalleryCatalogue,
        settings: IndexerSettings,
        metrics: IndexMetrics,
        tokens: KeptTokens | None = None,
    ) -> OpenedCollection:
        """Put together what a collection needs; with `tokens`, the features of images are kept there."""
        store = await catalogue.collection(bundle.manifest.space)
        patient = PatientStore(store, wait_s=settings.store_wait_s)
        pipeline = IndexingPipeline(
            bundle.encoder,
            patient,
            settings.image_limits,
            metrics,
            batch_size=settings.batch_size,
            batch_wait_s=settings.batch_wait_ms / 1000,
            decode_threads=settings.decode_threads,
            thumbnails=ThumbnailMaker.of(settings.thumbnail_side, settings.thumbnail_quality),
            keep_features=None if tokens is None else partial(tokens.keep, TokenKind.of(bundle.manifest)),
        )
        limits = PayloadLimits(settings.max_payload_bytes, settings.store.payload_schema)
        index_gallery = IndexGallery(patient, bundle.manifest.space, pipeline, metrics, limits)
        return cls(bundle.manifest, store, index_gallery, pipeline, bundle.encoder)

    def close(self) -> None:
        """End the pipeline's threads."""
        self.pipeline.close()
