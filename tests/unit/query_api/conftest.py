from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.query_service import QueryService, colour_gallery, tiny_query_service


@pytest.fixture
def service(tmp_path: Path) -> QueryService:
    return tiny_query_service(tmp_path)


@pytest.fixture
async def gallery(service: QueryService) -> MemoryGalleryStore:
    return await colour_gallery(service.manifest.space)


@pytest.fixture
async def client(service: QueryService, gallery: MemoryGalleryStore) -> AsyncIterator[httpx.AsyncClient]:
    async with service.running(gallery) as client:
        yield client
