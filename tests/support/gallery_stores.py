"""Every kind of gallery, opened empty for a test; a new adapter is an entry of `KINDS`."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aff_shared.store.gallery_catalogue import GalleryCatalogue, open_catalogue
from aff_shared.store.gallery_store import GalleryStore
from aff_shared.store.server.catalogue import QdrantServerCatalogue
from aff_shared.store.server.nodes import ServerNodes
from aff_shared.store.settings import StoreSettings
from tests.support.gallery_points import make_space
from tests.support.local_qdrant_client import make_local_qdrant_client
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue


async def _fake(_directory: Path) -> GalleryCatalogue:
    return MemoryGalleryCatalogue()


async def _edge(directory: Path) -> GalleryCatalogue:
    return await open_catalogue(StoreSettings(url="", edge_path=directory, upsert_batch_size=16))


async def _in_memory_client(_directory: Path) -> GalleryCatalogue:
    return QdrantServerCatalogue(StoreSettings(url="", upsert_batch_size=16), make_local_qdrant_client())


KINDS: dict[str, Callable[[Path], Awaitable[GalleryCatalogue]]] = {
    "fake": _fake,
    "edge": _edge,
    "in-memory client": _in_memory_client,
}
SERVER_KINDS = ("server over gRPC", "server over REST") if os.environ.get("QDRANT_URL") else ()


@asynccontextmanager
async def _on_server(*, prefer_grpc: bool) -> AsyncIterator[GalleryCatalogue]:
    settings = StoreSettings(collection=f"test-{uuid.uuid4().hex}", prefer_grpc=prefer_grpc)
    catalogue = await open_catalogue(settings)
    try:
        yield catalogue
    finally:
        await catalogue.close()
        janitor = ServerNodes(settings)
        for collection in (await janitor.call(lambda client: client.get_collections())).collections:
            if collection.name.startswith(settings.collection):
                await janitor.call(lambda client, name=collection.name: client.delete_collection(name))  # type: ignore[misc]
        await janitor.close()


@asynccontextmanager
async def gallery_catalogue_of_kind(kind: str, directory: Path) -> AsyncIterator[GalleryCatalogue]:
    """Open an empty catalogue of a kind; what it made on a server is removed at the end."""
    if kind in SERVER_KINDS:
        async with _on_server(prefer_grpc=kind == "server over gRPC") as catalogue:
            yield catalogue
        return
    catalogue = await KINDS[kind](directory)
    yield catalogue
    await catalogue.close()


@asynccontextmanager
async def gallery_store_of_kind(kind: str, directory: Path) -> AsyncIterator[GalleryStore]:
    """Open the store of a collection that was not created yet, for the space of `make_space()`."""
    async with gallery_catalogue_of_kind(kind, directory) as catalogue:
        yield await catalogue.collection(make_space())
