"""Every kind of gallery store, opened empty for a test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from qdrant_client import AsyncQdrantClient

from aff_contracts.gallery_store.gallery_store import GalleryStore
from aff_contracts.gallery_store.open_store import open_store
from aff_contracts.gallery_store.qdrant_server import QdrantServerStore
from aff_contracts.gallery_store.server_connection import client_arguments
from aff_contracts.gallery_store.settings import StoreSettings
from tests.support.local_qdrant_client import make_local_qdrant_client
from tests.support.memory_gallery_store import MemoryGalleryStore


@asynccontextmanager
async def _store_on_server(*, prefer_grpc: bool) -> AsyncIterator[GalleryStore]:
    settings = StoreSettings(collection=f"test-{uuid.uuid4().hex}", prefer_grpc=prefer_grpc)
    store = await open_store(settings)
    try:
        yield store
    finally:
        await store.close()
        janitor = AsyncQdrantClient(**client_arguments(settings))
        for collection in (await janitor.get_collections()).collections:
            if collection.name.startswith(settings.collection):
                await janitor.delete_collection(collection.name)
        await janitor.close()


@asynccontextmanager
async def gallery_store_of_kind(kind: str, directory: Path) -> AsyncIterator[GalleryStore]:
    """Open an empty store of a kind; what it made on a server is removed at the end."""
    if kind.startswith("server"):
        async with _store_on_server(prefer_grpc=kind == "server over gRPC") as store:
            yield store
        return
    settings = StoreSettings(url="", edge_path=directory, upsert_batch_size=16)
    if kind == "edge":
        store = await open_store(settings)
    elif kind == "in-memory client":
        store = QdrantServerStore(settings, make_local_qdrant_client())
    else:
        store = MemoryGalleryStore()
    yield store
    await store.close()
