from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aff_shared.errors import StoreDamagedError, StoreLockedError
from aff_shared.store.embedded import catalogue as catalogue_module
from aff_shared.store.embedded.catalogue import QdrantEdgeCatalogue
from aff_shared.store.embedded.rebuild import rebuild_gallery
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.gallery_catalogue import Collection
from aff_shared.store.settings import StoreSettings
from tests.support.gallery_points import make_points, make_space

pytestmark = pytest.mark.anyio

OLD, NEW = make_space("old"), make_space("new")


async def _open(root: Path) -> QdrantEdgeCatalogue:
    return await QdrantEdgeCatalogue.open(StoreSettings(url="", edge_path=root))


async def _earlier_release(root: Path) -> None:
    """Write a gallery as an earlier release did: its one collection in the directory itself."""
    store = await QdrantEdgeStore.open(root, StoreSettings(url=""))
    await store.create(OLD)
    await store.upsert(make_points(3))
    await store.close()


def _move_shard(root: Path, place: Path) -> None:
    (shard,) = root.glob("shard-*")
    place.mkdir(parents=True)
    shard.rename(place / shard.name)


async def test_collections_and_what_is_live_outlive_the_process(tmp_path: Path) -> None:
    first = await _open(tmp_path)
    await first.create(OLD)
    await first.create(NEW)
    await (await first.collection(NEW)).upsert(make_points(2))
    await first.switch(NEW.id)
    before = await first.collections()
    await first.close()
    second = await _open(tmp_path)
    assert await second.collections() == before
    assert await (await second.collection(NEW)).count() == 2
    await second.close()


async def test_a_gallery_that_was_served_with_another_bundle_once_is_not_called_damaged(tmp_path: Path) -> None:
    catalogue = await _open(tmp_path)
    await catalogue.create(OLD)
    await (await catalogue.collection(OLD)).upsert(make_points(3))
    await catalogue.collection(NEW)  # as a service opens its bundle's, which is never created
    await catalogue.close()
    rebuilt = await rebuild_gallery(StoreSettings(url="", edge_path=tmp_path))
    assert (rebuilt.aside, rebuilt.nameless, rebuilt.emptied) == (None, [], [])
    assert (rebuilt.live, rebuilt.images) == (OLD, 3)


async def test_a_directory_belongs_to_one_catalogue(tmp_path: Path) -> None:
    catalogue = await _open(tmp_path)
    with pytest.raises(StoreLockedError):
        await _open(tmp_path)
    await catalogue.close()
    await (await _open(tmp_path)).close()


async def test_a_gallery_of_an_earlier_release_is_the_live_collection(tmp_path: Path) -> None:
    await _earlier_release(tmp_path)
    for _ in range(2):
        catalogue = await _open(tmp_path)
        assert [(one.space, one.live) for one in await catalogue.collections()] == [(OLD, True)]
        assert await (await catalogue.collection(OLD)).count() == 3
        await catalogue.close()
    assert not (tmp_path / "gallery.json").exists()


async def test_a_move_of_an_earlier_release_that_was_killed_on_its_way_is_finished(tmp_path: Path) -> None:
    await _earlier_release(tmp_path)
    _move_shard(tmp_path, tmp_path / "collections" / OLD.id[:12])  # and no further
    catalogue = await _open(tmp_path)
    assert await (await catalogue.collection(OLD)).count() == 3
    await catalogue.close()


async def test_a_drop_that_was_killed_on_its_way_leaves_no_collection(tmp_path: Path) -> None:
    catalogue = await _open(tmp_path)
    await catalogue.create(OLD)
    await catalogue.create(NEW)
    await catalogue.close()
    (tmp_path / "collections" / NEW.id[:12] / "gallery.json").unlink()
    again = await _open(tmp_path)
    assert [one.space for one in await again.collections()] == [OLD]
    await again.create(NEW)
    assert await (await again.collection(NEW)).count() == 0
    await again.close()


async def test_a_restoration_that_was_killed_on_its_way_is_finished_or_never_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = await _open(tmp_path)
    await catalogue.create(OLD)
    await (await catalogue.collection(OLD)).upsert(make_points(9))
    restoration = await catalogue.restoration("aa" * 32)
    await (await restoration.create(OLD)).upsert(make_points(3))
    shutil.copytree(tmp_path, tmp_path.with_name("half"), ignore=shutil.ignore_patterns("tmp-*"))

    def killed(root: Path) -> None:
        raise OSError("killed")

    monkeypatch.setattr(catalogue_module, "finish_restore", killed)
    with pytest.raises(OSError, match="killed"):
        await restoration.take_place([Collection(OLD, live=True)])
    monkeypatch.undo()
    await catalogue.close()
    for root, count in ((tmp_path.with_name("half"), 9), (tmp_path, 3)):  # half of one does not count, a whole one does
        again = await _open(root)
        assert await (await again.collection(OLD)).count() == count
        await again.close()


async def test_a_damaged_catalogue_is_named(tmp_path: Path) -> None:
    (tmp_path / "catalogue.json").write_text("{")
    with pytest.raises(StoreDamagedError, match=r"catalogue\.json"):
        await _open(tmp_path)
    shutil.rmtree(tmp_path)
    await (await _open(tmp_path)).close()
