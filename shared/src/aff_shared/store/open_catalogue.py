"""Opens the gallery that the settings ask for."""

from __future__ import annotations

from aff_shared.store.gallery_catalogue import GalleryCatalogue
from aff_shared.store.settings import StoreSettings


async def open_catalogue(settings: StoreSettings) -> GalleryCatalogue:
    """Open the gallery; only the adapter that is used gets imported.

    Raises:
        StoreLockedError: Another process holds the embedded engine's directory.
        StoreDamagedError: Files of the embedded engine are not what was written.
        StoreUnavailableError: The embedded engine's directory cannot be read.
    """
    if settings.url:
        from aff_shared.store.server.server_catalogue import QdrantServerCatalogue  # noqa: PLC0415

        return QdrantServerCatalogue(settings)
    from aff_shared.store.embedded.edge_catalogue import QdrantEdgeCatalogue  # noqa: PLC0415

    return await QdrantEdgeCatalogue.open(settings)
