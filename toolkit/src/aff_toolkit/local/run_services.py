"""Runs both services in one process with one gallery store, for a single machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aff_shared.bundles.bundle import ImportedSpace, load_served_manifest
from aff_shared.bundles.bundle_repository import BundleRepository
from aff_shared.errors import StoreError
from aff_shared.store.gallery_catalogue import GalleryCatalogue, live_one, open_catalogue
from aff_shared.store.settings import StoreSettings
from aff_shared.web.serving import ServedApp, serve
from gallery_indexer.app import create_app as create_indexer_app
from gallery_indexer.settings import IndexerSettings
from query_api.app import create_app as create_query_app
from query_api.settings import QuerySettings


async def serve_local(
    store: StoreSettings, indexer: IndexerSettings | None, query: QuerySettings | None, report: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM; the applications share one gallery.

    Args:
        store: Where the gallery is.
        indexer: Settings of the gallery indexer; None leaves it out.
        query: Settings of the query service; None leaves it out.
        report: Called at the start with a message about each bundle.

    Raises:
        BundleError: The model bundle cannot be used.
        StoreLockedError: Another process holds the gallery's directory.
        AccessSettingsError: A service would be reachable from other machines without configured access.
    """
    if indexer is not None and query is not None:
        indexer, query = joined_by_the_page(indexer, query)
    gallery = await open_catalogue(store)
    try:
        for bundle in dict.fromkeys(settings.bundle_path for settings in (query, indexer) if settings is not None):
            report(await describe_served_bundle(bundle, gallery))
        apps = []
        if indexer is not None:
            apps.append(ServedApp(create_indexer_app(indexer, catalogue=gallery), indexer))
        if query is not None:
            apps.append(ServedApp(create_query_app(query, catalogue=gallery), query))
        await serve(apps)
    finally:
        await gallery.close()


_EVERY_ADDRESS = {"0.0.0.0", "::"}
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def joined_by_the_page(indexer: IndexerSettings, query: QuerySettings) -> tuple[IndexerSettings, QuerySettings]:
    """Return settings with which the page of the query service can add images through the indexer.

    They are unchanged if the operator has set the indexer's address, or if the services listen on every address, of
    which a browser can use some: then `AFF_QUERY_PAGE_INDEXER_URL` and `AFF_ACCESS_CORS_ORIGINS` have to be set.
    """
    host = query.host.strip("[]")
    if not query.page or "page_indexer_url" in query.model_fields_set or {host, indexer.host} & _EVERY_ADDRESS:
        return indexer, query
    names = _THIS_MACHINE if host in _THIS_MACHINE else (host,)
    origins = tuple(f"http://{f'[{name}]' if ':' in name else name}:{query.port}" for name in names)
    access = indexer.access.model_copy(update={"cors_origins": (*indexer.access.cors_origins, *origins)})
    joined = query.model_copy(update={"page_indexer_url": indexer.address})
    return indexer.model_copy(update={"access": access}), joined


async def describe_served_bundle(bundle: Path, catalogue: GalleryCatalogue) -> str:
    """Return a description of the bundle in use: the named one, or that of the gallery's embedding space.

    Args:
        bundle: Directory of the named bundle.
        catalogue: The gallery; if it is unavailable, only the named bundle is described.

    Raises:
        BundleError: The named bundle cannot be read.
    """
    named = load_served_manifest(bundle)
    try:
        live = live_one(await catalogue.collections())
    except StoreError:
        return f"bundle {named.title}"
    if live.space == named.space:
        return f"bundle {named.title}"
    why = f"this gallery is of another embedding space than bundle {named.title}"
    following = (
        f"For a collection of {named.name}: aff gallery build SOURCE --bundle {bundle.name}, then "
        "aff gallery switch; or serve an empty --gallery-dir"
    )
    path = BundleRepository(bundle).of_space(live.space.id)
    if path is None:
        return f"Warning: {why}, and its directory has no bundle of that space: searches will be rejected. {following}"
    served = load_served_manifest(path)
    if isinstance(served, ImportedSpace):
        return f"imported embedding space {served.title}; new images are embedded by bundle {named.title} after a build"
    return f"Warning: {why}. Its live collection is searched with bundle {served.title}. {following}"
