"""Opens the gallery store that the settings ask for."""

from __future__ import annotations

from aff_contracts.gallery_store.gallery_store import GalleryStore
from aff_contracts.gallery_store.settings import StoreSettings


async def open_store(settings: StoreSettings) -> GalleryStore:
    """Open the store; only the adapter that is used gets imported.

    Raises:
        StoreLockedError: Another process holds the embedded engine's directory.
        StoreUnavailableError: The embedded engine's directory cannot be read.
    """
    if settings.url:
        from aff_contracts.gallery_store.qdrant_server import QdrantServerStore  # noqa: PLC0415

        return QdrantServerStore(settings)
    from aff_contracts.gallery_store.qdrant_edge import QdrantEdgeStore  # noqa: PLC0415

    return await QdrantEdgeStore.open(settings)
