"""The contract of every catalogue."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from aff_shared.errors import CollectionLiveError, CollectionNotFoundError, GalleryMissingError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_catalogue import Collection, GalleryCatalogue
from tests.support.gallery_points import make_points, make_space

pytestmark = pytest.mark.anyio

OLD, NEW = make_space("old"), make_space("new")


async def _spaces(catalogue: GalleryCatalogue) -> list[tuple[EmbeddingSpace, bool]]:
    return [(collection.space, collection.live) for collection in await catalogue.collections()]


async def test_an_empty_catalogue_has_no_collection(catalogue: GalleryCatalogue) -> None:
    assert await catalogue.collections() == []
    with pytest.raises(GalleryMissingError):
        await (await catalogue.collection(OLD)).count()


async def test_the_first_collection_is_live_and_the_next_one_is_not(catalogue: GalleryCatalogue) -> None:
    await catalogue.create(OLD)
    await catalogue.create(NEW)
    await catalogue.create(OLD)
    assert await _spaces(catalogue) == [(OLD, True), (NEW, False)]


async def test_it_is_known_whether_a_gallery_was_begun(catalogue: GalleryCatalogue) -> None:
    assert not await catalogue.was_begun()
    await catalogue.create(OLD)
    assert await catalogue.was_begun()


async def test_each_collection_keeps_its_own_points(catalogue: GalleryCatalogue) -> None:
    await catalogue.create(OLD)
    await catalogue.create(NEW)
    await (await catalogue.collection(OLD)).upsert(make_points(3))
    assert await (await catalogue.collection(OLD)).count() == 3
    assert await (await catalogue.collection(NEW)).count() == 0
    assert await (await catalogue.collection(NEW)).space() == NEW


async def test_a_switch_changes_what_is_live_and_where_nobodys_calls_go(catalogue: GalleryCatalogue) -> None:
    await catalogue.create(OLD)
    await catalogue.create(NEW)
    old = await catalogue.collection(OLD)
    await catalogue.switch(NEW.id)
    await old.upsert(make_points(2))
    assert await _spaces(catalogue) == [(NEW, True), (OLD, False)]
    assert await (await catalogue.collection(OLD)).count() == 2
    assert await (await catalogue.collection(NEW)).count() == 0


async def test_a_collection_is_found_by_the_beginning_of_its_id(catalogue: GalleryCatalogue) -> None:
    await catalogue.create(OLD)
    await catalogue.create(NEW)
    await catalogue.switch(NEW.id[:12])
    assert await _spaces(catalogue) == [(NEW, True), (OLD, False)]


async def test_the_collection_that_was_live_last_is_second(catalogue: GalleryCatalogue) -> None:
    never = make_space("never")
    for space in (OLD, never, NEW):
        await catalogue.create(space)
    await catalogue.switch(NEW.id)
    found = await catalogue.collections()
    assert [collection.space for collection in found] == [NEW, OLD, never]
    assert found[0].live_since is not None
    assert found[1].live_since is not None
    assert found[0].live_since > found[1].live_since
    assert found[2].live_since is None


async def test_a_switch_to_what_is_live_changes_nothing(catalogue: GalleryCatalogue) -> None:
    await catalogue.create(OLD)
    before = await catalogue.collections()
    await catalogue.switch(OLD.id)
    assert await catalogue.collections() == before


async def test_a_dropped_collection_is_gone_and_can_be_created_again(catalogue: GalleryCatalogue) -> None:
    await catalogue.create(OLD)
    await catalogue.create(NEW)
    dropped = await catalogue.collection(NEW)
    await dropped.upsert(make_points(2))
    await catalogue.drop(NEW.id)
    assert await _spaces(catalogue) == [(OLD, True)]
    with pytest.raises(GalleryMissingError):
        await dropped.count()
    await catalogue.create(NEW)
    assert await (await catalogue.collection(NEW)).count() == 0


async def test_the_live_collection_is_not_dropped(catalogue: GalleryCatalogue) -> None:
    await catalogue.create(OLD)
    with pytest.raises(CollectionLiveError):
        await catalogue.drop(OLD.id)
    assert await _spaces(catalogue) == [(OLD, True)]


@pytest.mark.parametrize("unknown", ["f" * 12, ""])
async def test_a_missing_or_ambiguous_collection_is_reported(catalogue: GalleryCatalogue, unknown: str) -> None:
    await catalogue.create(OLD)
    await catalogue.create(NEW)
    for call in (catalogue.switch, catalogue.drop):
        with pytest.raises(CollectionNotFoundError, match=OLD.id[:12]):
            await call(unknown)


async def test_creations_at_the_same_moment_make_one_collection(catalogue: GalleryCatalogue) -> None:
    await asyncio.gather(*(catalogue.create(OLD) for _ in range(4)))
    assert await _spaces(catalogue) == [(OLD, True)]


@pytest.fixture(autouse=True)
def nobody_else_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aff_shared.store.server.catalogue._FOLLOWED_S", 0)


async def test_restored_collections_replace_all_atomically(
    catalogue: GalleryCatalogue,
) -> None:
    await catalogue.create(OLD)
    await catalogue.create(make_space("third"))
    await (await catalogue.collection(OLD)).upsert(make_points(5))
    since = datetime(2026, 1, 2, tzinfo=UTC)
    for key in ("aa" * 32, "bb" * 32):  # the second one replaces what was restored
        restoration = await catalogue.restoration(key)
        await (await restoration.create(OLD)).upsert(make_points(2))
        await (await restoration.create(NEW)).upsert(make_points(3))
        if key.startswith("a"):
            assert (await _spaces(catalogue))[0] == (OLD, True)
            assert await (await catalogue.collection(OLD)).count() == 5
        await restoration.take_place([Collection(NEW, True), Collection(OLD, False, since)])
        await restoration.close()
        assert await _spaces(catalogue) == [(NEW, True), (OLD, False)]
        assert (await catalogue.collections())[1].live_since == since
        assert await (await catalogue.collection(OLD)).count() == 2
        assert await (await catalogue.collection(NEW)).count() == 3
    await catalogue.switch(OLD.id)
    await catalogue.drop(NEW.id)
    await catalogue.create(NEW)
    assert await (await catalogue.collection(NEW)).count() == 0


async def test_what_a_restoration_left_is_found_by_its_key_alone(catalogue: GalleryCatalogue) -> None:
    await catalogue.create(OLD)
    for key, expected in (("aa" * 32, 0), ("aa" * 32, 4), ("bb" * 32, 0), ("aa" * 32, 0)):
        restoration = await catalogue.restoration(key)
        store = await restoration.create(OLD)
        assert await store.count() == expected
        await store.upsert(make_points(4))
        await restoration.close()
    assert await _spaces(catalogue) == [(OLD, True)]
    assert await (await catalogue.collection(OLD)).count() == 0
