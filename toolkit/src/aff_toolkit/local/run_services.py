"""Both services in one process, on one gallery store: what a laptop needs."""

from __future__ import annotations

from collections.abc import Callable

from aff_shared.store.open_catalogue import open_catalogue
from aff_shared.store.settings import StoreSettings
from aff_shared.web.serving import ServedApp, serve
from aff_toolkit.local.served_bundle import describe_served_bundle
from gallery_indexer.app import create_app as create_indexer_app
from gallery_indexer.settings import IndexerSettings
from query_api.app import create_app as create_query_app
from query_api.settings import QuerySettings


async def serve_local(
    store: StoreSettings, indexer: IndexerSettings | None, query: QuerySettings | None, tell: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM; the applications share one gallery.

    Args:
        store: Where the gallery is.
        indexer: Settings of the gallery indexer; None leaves it out.
        query: Settings of the query service; None leaves it out.
        tell: Called before anything starts, with a line about each bundle that is going to be used.

    Raises:
        BundleError: The model bundle cannot be used.
        StoreLockedError: Another process holds the gallery's directory.
        AccessSettingsError: A service would be open to others than this machine, and nothing says that it should.
    """
    gallery = await open_catalogue(store)
    try:
        for bundle in dict.fromkeys(settings.bundle_path for settings in (query, indexer) if settings is not None):
            tell(await describe_served_bundle(bundle, gallery))
        apps = []
        if indexer is not None:
            apps.append(ServedApp(create_indexer_app(indexer, catalogue=gallery), indexer))
        if query is not None:
            apps.append(ServedApp(create_query_app(query, catalogue=gallery), query))
        await serve(apps)
    finally:
        await gallery.close()
