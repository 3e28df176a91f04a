from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.query_service import QueryService, colour_gallery, tiny_query_service

THUMBNAIL = b"RIFF....WEBP"


@pytest.fixture
def service(tmp_path: Path) -> QueryService:
    return tiny_query_service(tmp_path)


@pytest.fixture
async def gallery(service: QueryService) -> MemoryGalleryStore:
    return await colour_gallery(service.manifest.space)


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that all tests of a module share; its gallery has a thumbnail of `red` alone."""
    service = tiny_query_service(tmp_path_factory.mktemp("service"))
    gallery = await colour_gallery(service.manifest.space)
    red = (await gallery.fetch(["red"]))["red"]
    await gallery.upsert([type(red)(red.record, red.embedding, THUMBNAIL)])
    async with service.running(gallery) as client:
        yield client
