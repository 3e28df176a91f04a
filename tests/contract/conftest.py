"""The gallery stores that the contract suite runs on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aff_shared.store.gallery_catalogue import GalleryCatalogue
from aff_shared.store.gallery_store import GalleryStore
from tests.support.gallery_points import make_space
from tests.support.gallery_stores import KINDS, SERVER_KINDS, gallery_catalogue_of_kind, gallery_store_of_kind

needs_server = pytest.mark.skipif(not os.environ.get("QDRANT_URL"), reason="QDRANT_URL names no server")


@pytest.fixture(params=[*KINDS, *SERVER_KINDS])
async def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GalleryCatalogue]:
    """A catalogue without a collection."""
    async with gallery_catalogue_of_kind(request.param, tmp_path) as catalogue:
        yield catalogue


@pytest.fixture(params=[*KINDS, *SERVER_KINDS])
async def empty_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GalleryStore]:
    """A store in which nothing was created yet."""
    async with gallery_store_of_kind(request.param, tmp_path) as store:
        yield store


@pytest.fixture
async def store(empty_store: GalleryStore) -> GalleryStore:
    """A store with an empty gallery of `make_space()`."""
    await empty_store.create(make_space())
    return empty_store
