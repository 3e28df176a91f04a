"""Galleries with different prefixes on one server, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from aff_shared.errors import GalleryMissingError
from aff_shared.store.gallery_catalogue import Collection, GalleryCatalogue, open_catalogue
from aff_shared.store.settings import StoreSettings
from tests.support.gallery_points import make_points, make_space
from tests.support.qdrant_rest_server import QdrantRestServer, qdrant_rest_server

pytestmark = pytest.mark.anyio

SPACE, OTHER = make_space("one"), make_space("another")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[QdrantRestServer]:
    async with qdrant_rest_server(tmp_path) as server:
        yield server


@pytest.fixture
async def galleries(
    server: QdrantRestServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[GalleryCatalogue, GalleryCatalogue]]:
    """Two galleries as two operators configure them: the same server and collection, and a prefix each."""
    monkeypatch.setattr("aff_shared.store.server.catalogue._FOLLOWED_S", 0)
    monkeypatch.setenv("QDRANT_URL", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("QDRANT_PREFER_GRPC", "false")
    async with AsyncExitStack() as stack:
        opened = []
        for prefix in ("north_", "south_"):
            monkeypatch.setenv("QDRANT_COLLECTION_PREFIX", prefix)
            opened.append(await open_catalogue(StoreSettings()))
            stack.push_async_callback(opened[-1].close)
        yield opened[0], opened[1]


async def _names(server: QdrantRestServer) -> set[str]:
    return {collection.name for collection in (await server.client.get_collections()).collections}


async def test_each_prefix_has_its_own_images_of_the_same_space(
    server: QdrantRestServer, galleries: tuple[GalleryCatalogue, GalleryCatalogue]
) -> None:
    north, south = galleries
    await north.create(SPACE)
    assert await south.collections() == []
    with pytest.raises(GalleryMissingError):
        await (await south.collection(SPACE)).count()
    await south.create(SPACE)
    await (await north.collection(SPACE)).upsert(make_points(3))
    await (await south.collection(SPACE)).upsert(make_points(5))
    assert [await (await one.collection(SPACE)).count() for one in galleries] == [3, 5]
    hits = await (await south.collection(SPACE)).search(make_points(5)[4].embedding, limit=10)
    assert (hits[0].record.item_id, len(hits)) == ("item-4", 5)
    await (await north.collection(SPACE)).delete(["item-0"])
    assert [await (await one.collection(SPACE)).count() for one in galleries] == [2, 5]
    names = await _names(server)
    assert len(names) == 2
    assert {name[:6] for name in names} == {"north_", "south_"}


async def test_a_switch_a_drop_and_a_restoration_change_one_prefix_alone(
    server: QdrantRestServer, galleries: tuple[GalleryCatalogue, GalleryCatalogue]
) -> None:
    north, south = galleries
    for one in galleries:
        await one.create(SPACE)
        await one.create(OTHER)
        await (await one.collection(SPACE)).upsert(make_points(2))
    await north.switch(OTHER.id)
    assert [(one.space, one.live) for one in await north.collections()] == [(OTHER, True), (SPACE, False)]
    assert [(one.space, one.live) for one in await south.collections()] == [(SPACE, True), (OTHER, False)]
    await north.drop(SPACE.id)
    assert await (await south.collection(SPACE)).count() == 2
    restoration = await south.restoration("ab" * 32)
    await (await restoration.create(OTHER)).upsert(make_points(4))
    await restoration.take_place([Collection(OTHER, live=True)])
    await restoration.close()
    assert [one.space for one in await south.collections()] == [OTHER]
    assert await (await south.collection(OTHER)).count() == 4
    assert [one.space for one in await north.collections()] == [OTHER]
    assert await (await north.collection(OTHER)).count() == 0
    assert sorted(name[:6] for name in await _names(server)) == ["north_", "south_"]
