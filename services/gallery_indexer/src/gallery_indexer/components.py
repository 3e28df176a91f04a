"""The components that the routes use; app.py creates them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from aff_shared.store.gallery_catalogue import GalleryCatalogue
from gallery_indexer.collections.backup_gallery import BackupGallery
from gallery_indexer.collections.edit_gallery import EditGallery
from gallery_indexer.collections.gallery_jobs import GalleryJobs
from gallery_indexer.collections.index_collections import IndexCollections
from gallery_indexer.collections.remix_gallery import RemixGallery
from gallery_indexer.features.feature_cache import FeatureCache
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.remote.remote_image_loader import RemoteImageLoader
from gallery_indexer.settings import IndexerSettings


@dataclass(frozen=True, slots=True)
class Components:
    """The components of the running service."""

    settings: IndexerSettings
    catalogue: GalleryCatalogue
    collections: IndexCollections
    edit_gallery: EditGallery
    metrics: IndexMetrics
    remote_image_loader: RemoteImageLoader
    feature_cache: FeatureCache | None
    jobs: GalleryJobs
    remix_gallery: RemixGallery
    backup_gallery: BackupGallery


async def _of_request(request: Request) -> Components:  # async: FastAPI runs other dependencies in a thread
    components: Components = request.app.state.components
    return components


CurrentComponents = Annotated[Components, Depends(_of_request)]
