from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from aff_shared.bundles.bundle import load_manifest
from aff_shared.bundles.bundle_repository import BundleRepository
from aff_shared.errors import (
    BundleIntegrityError,
    EmbeddingSpaceMismatchError,
    GalleryMissingError,
    StoreUnavailableError,
)
from aff_shared.schemas.embedding_space import EmbeddingSpace
from query_api.search import active_model
from query_api.search.active_model import ActiveModel, LoadedEncoder
from tests.support.detachable_gallery_store import DetachableGalleryStore
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.fixed_active_model import fixed_active_model
from tests.support.gallery_points import make_space
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue

INTERVAL_S = 2.0

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The gallery's clock, in seconds: it stands still until the test moves it."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(active_model, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def store() -> DetachableGalleryStore:
    return DetachableGalleryStore()


@pytest.fixture
def gallery(store: DetachableGalleryStore) -> ActiveModel:
    return fixed_active_model(MemoryGalleryCatalogue(store), make_space(), object(), interval_s=INTERVAL_S)


async def test_a_good_answer_is_trusted_for_the_interval_and_no_longer(
    clock: SimpleNamespace, store: DetachableGalleryStore, gallery: ActiveModel
) -> None:
    await store.create(make_space())
    requested = []
    for clock.now in (0.0, 1.0, 1.9, 2.0, 3.9, 4.0):
        before = store.space_reads
        await gallery.serving()
        requested.append(store.space_reads > before)
    assert requested == [True, False, False, True, False, True]


async def test_a_gallery_that_appears_is_noticed_at_once(
    clock: SimpleNamespace, store: DetachableGalleryStore, gallery: ActiveModel
) -> None:
    for _ in range(2):
        with pytest.raises(GalleryMissingError):
            await gallery.serving()
    await store.create(make_space())
    assert (await gallery.serving()).store is store


async def test_a_gallery_that_was_deleted_by_other_means_is_reported_as_missing(
    clock: SimpleNamespace, store: DetachableGalleryStore, gallery: ActiveModel
) -> None:
    await store.create(make_space())
    await gallery.serving()
    store.forget()
    with pytest.raises(GalleryMissingError, match="the gallery does not exist"):
        await gallery.require_live()
    clock.now = INTERVAL_S
    with pytest.raises(GalleryMissingError, match="the gallery does not exist"):
        await gallery.serving()


async def test_a_store_that_is_available_again_is_noticed_immediately(
    clock: SimpleNamespace, store: DetachableGalleryStore, gallery: ActiveModel
) -> None:
    await store.create(make_space())
    store.away = True
    with pytest.raises(StoreUnavailableError):
        await gallery.serving()
    store.away = False
    await gallery.serving()


async def test_an_unavailable_store_is_noticed_after_the_interval(
    clock: SimpleNamespace, store: DetachableGalleryStore, gallery: ActiveModel
) -> None:
    await store.create(make_space())
    await gallery.serving()
    store.away = True
    clock.now = 1.9
    await gallery.serving()
    clock.now = 2.0
    with pytest.raises(StoreUnavailableError):
        await gallery.serving()


async def test_a_gallery_of_another_space_is_rejected_every_time_in_words_that_name_both_sides(
    clock: SimpleNamespace, store: DetachableGalleryStore, gallery: ActiveModel
) -> None:
    await store.create(make_space("another space"))
    for _ in range(2):
        with pytest.raises(EmbeddingSpaceMismatchError, match=r"the query encoder has .*, the gallery has "):
            await gallery.serving()


class _Shelf:
    """Two bundles in one directory, and a loader that waits for `free` and records what it loaded."""

    def __init__(self, root: Path) -> None:
        self.free = asyncio.Event()
        self.loaded: list[str] = []
        self.broken = False
        for name, dimension in (("old", 4), ("new", 8)):
            (root / name).mkdir()
            write_dummy_bundle(root / name, dimension=dimension)
        self.shelf = BundleRepository(root / "old")
        self.old, self.new = (load_manifest(root / name).space for name in ("old", "new"))

    async def load(self, path: Path) -> LoadedEncoder:
        async with asyncio.timeout(10):
            await self.free.wait()
        if self.broken:
            raise BundleIntegrityError("altered", item=path.name)
        self.loaded.append(path.name)
        return LoadedEncoder(load_manifest(path), SimpleNamespace(name=path.name))  # type: ignore[arg-type]


_OLD_GRAPH = SimpleNamespace(name="old")


@asynccontextmanager
async def _switched(
    root: Path, graph: object = _OLD_GRAPH
) -> AsyncIterator[tuple[_Shelf, MemoryGalleryCatalogue, ActiveModel]]:
    """A gallery that served the old collection when the new one became live."""
    shelf, catalogue = _Shelf(root), MemoryGalleryCatalogue()
    await catalogue.create(shelf.old)
    await catalogue.create(shelf.new)
    first = LoadedEncoder(load_manifest(root / "old"), graph)  # type: ignore[arg-type]
    gallery = ActiveModel(catalogue, shelf.shelf, first, shelf.load, interval_s=0)
    assert (await gallery.serving()).manifest.space == shelf.old
    await catalogue.switch(shelf.new.id)
    yield shelf, catalogue, gallery
    shelf.free.set()
    await gallery.close()


async def _pair(gallery: ActiveModel) -> tuple[EmbeddingSpace, EmbeddingSpace, str]:
    serving = await gallery.serving()
    return serving.manifest.space, await serving.store.space(), serving.graph.name  # type: ignore[attr-defined]


async def test_the_former_pair_serves_until_that_of_the_new_live_collection_is_loaded(tmp_path: Path) -> None:
    async with _switched(tmp_path) as (shelf, _, gallery):
        for _ in range(3):
            assert await _pair(gallery) == (shelf.old, shelf.old, "old")
        with pytest.raises(EmbeddingSpaceMismatchError):
            await gallery.require_live()
        shelf.free.set()
        async with asyncio.timeout(10):
            while await _pair(gallery) != (shelf.new, shelf.new, "new"):  # noqa: ASYNC110 - it is loaded in the background
                await asyncio.sleep(0.01)
        assert (await gallery.require_live()).manifest.space == shelf.new
        assert shelf.loaded == ["new"]


async def test_a_former_collection_that_is_dropped_is_waited_out(tmp_path: Path) -> None:
    async with _switched(tmp_path) as (shelf, catalogue, gallery):
        await catalogue.drop(shelf.old.id)
        waiting = asyncio.create_task(_pair(gallery))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        shelf.free.set()
        assert await waiting == (shelf.new, shelf.new, "new")


async def test_a_former_space_without_an_encoder_is_not_served_while_the_new_one_is_loaded(tmp_path: Path) -> None:
    async with _switched(tmp_path, graph=None) as (shelf, _, gallery):
        waiting = asyncio.create_task(_pair(gallery))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        shelf.free.set()
        assert await waiting == (shelf.new, shelf.new, "new")
    (tmp_path / "broken").mkdir()
    async with _switched(tmp_path / "broken", graph=None) as (shelf, _, gallery):
        shelf.broken = True
        shelf.free.set()
        assert (await gallery.serving()).manifest.space == shelf.old  # embeddings are still compared with it


async def test_a_bundle_that_cannot_be_used_leaves_the_former_pair_serving(tmp_path: Path) -> None:
    async with _switched(tmp_path) as (shelf, catalogue, gallery):
        shelf.broken = True
        shelf.free.set()
        for _ in range(3):
            assert await _pair(gallery) == (shelf.old, shelf.old, "old")
            await asyncio.sleep(0.02)
        await catalogue.drop(shelf.old.id)
        with pytest.raises(BundleIntegrityError):
            await gallery.serving()
