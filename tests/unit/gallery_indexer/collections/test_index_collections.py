from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from prometheus_client import CollectorRegistry

from aff_shared.bundles.bundle import (
    BundleManifest,
    ImportedSpace,
    describe_imported_space,
    load_manifest,
    write_manifest,
)
from aff_shared.bundles.bundle_repository import BundleRepository
from aff_shared.errors import (
    BundleUnknownError,
    EmbeddingSpaceMismatchError,
    EncoderMissingError,
    GalleryMissingError,
    StoreUnavailableError,
)
from aff_shared.schemas.indexing import IndexItem, LookupImage, Receipt
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.store.gallery_catalogue import GalleryCatalogue, open_catalogue
from aff_shared.store.gallery_store import GalleryPoint
from aff_shared.store.server.catalogue import QdrantServerCatalogue
from aff_shared.store.settings import StoreSettings
from gallery_indexer.collections.collection_runtime import CollectionRuntime, LoadedBundle, load_bundle
from gallery_indexer.collections.edit_gallery import EditGallery
from gallery_indexer.collections.index_collections import IndexCollections
from gallery_indexer.features.image_encoder import EncoderLoader, ImageEncoder
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.index_task import UploadedImage
from gallery_indexer.indexing.indexing_pipeline import IndexingPipeline
from gallery_indexer.indexing.payload_limits import PayloadLimits
from gallery_indexer.settings import IndexerSettings
from tests.support.detachable_gallery_store import DetachableGalleryStore
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.fake_gallery_encoder import FakeGalleryEncoder
from tests.support.gallery_points import make_points, make_space
from tests.support.local_qdrant_client import make_local_qdrant_client
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.plain_photograph import plain_png

RED, GREEN, BLUE = plain_png((255, 0, 0)), plain_png((0, 255, 0)), plain_png((0, 0, 255))

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _load(bundle_directory: Path, manifest: BundleManifest, *, device: str) -> ImageEncoder:
    return FakeGalleryEncoder(poison=(9, 9, 9) if bundle_directory.name == "new" else None)


class _Watched:
    """Loads encoders, keeps the newest one, and counts closed pipelines."""

    newest: FakeGalleryEncoder

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.closed = 0
        close = IndexingPipeline.close

        def count_and_close(pipeline: IndexingPipeline) -> None:
            close(pipeline)
            self.closed += 1

        monkeypatch.setattr(IndexingPipeline, "close", count_and_close)

    def __call__(self, *_: object, **__: object) -> ImageEncoder:
        self.newest = FakeGalleryEncoder()
        return self.newest

    async def wait_for_closed(self, pipelines: int) -> None:
        async with asyncio.timeout(10):
            while self.closed < pipelines:  # noqa: ASYNC110 - they are closed in a thread
                await asyncio.sleep(0.01)


@pytest.fixture
def bundles(tmp_path: Path) -> BundleRepository:
    """Two bundles of the fake encoder, old and new."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        write_dummy_bundle(tmp_path / name, dimension=FakeGalleryEncoder.dimension, mixer=name.encode())
    return BundleRepository(tmp_path / "old")


def _space(bundles: BundleRepository, name: str) -> Any:
    return load_manifest(bundles.named(name)).space


@asynccontextmanager
async def _collections(
    bundles: BundleRepository,
    catalogue: GalleryCatalogue,
    registry: CollectorRegistry | None = None,
    *,
    load: EncoderLoader = _load,
    interval_s: float = 0.0,
    create_gallery: Literal["auto", "always", "never"] = "auto",
) -> AsyncIterator[IndexCollections]:
    settings, metrics = IndexerSettings(store_wait_s=0.0), IndexMetrics(registry or CollectorRegistry())

    async def open_collection(path: Path) -> CollectionRuntime:
        return await CollectionRuntime.open(await load_bundle(path, settings, load), catalogue, settings, metrics)

    collections = IndexCollections(
        catalogue,
        bundles,
        await open_collection(bundles.default),
        open_collection,
        metrics,
        interval_s=interval_s,
        store_wait_s=0.0,
        create_gallery=create_gallery,
    )
    try:
        await collections.refresh()
        yield collections
    finally:
        await collections.close()


def _images(**images: bytes) -> list[UploadedImage]:
    return [UploadedImage(data=data, item=IndexItem(id=name)) for name, data in images.items()]


def _statuses(receipts: Sequence[Receipt]) -> list[str]:
    return [receipt.status for receipt in receipts]


async def _ids(catalogue: GalleryCatalogue, space: Any) -> list[str]:
    page = await (await catalogue.collection(space)).scroll(limit=100)
    return sorted(point.record.item_id for point in page.points)


async def _point(catalogue: GalleryCatalogue, space: Any, item_id: str) -> GalleryPoint:
    return (await (await catalogue.collection(space)).fetch([item_id]))[item_id]


class _DamagedCatalogue(MemoryGalleryCatalogue):
    async def collection(self, space: Any) -> Any:  # noqa: ARG002 - the Protocol's
        raise StoreUnavailableError("its directory cannot be read")


async def test_a_bundle_whose_collection_cannot_be_opened_is_closed(
    bundles: BundleRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[LoadedBundle] = []
    monkeypatch.setattr(LoadedBundle, "close", lambda bundle: closed.append(bundle))  # noqa: PLW0108 - a method
    settings = IndexerSettings()
    bundle = await load_bundle(bundles.default, settings, _load)
    with pytest.raises(StoreUnavailableError, match="cannot be read"):
        await CollectionRuntime.open(bundle, _DamagedCatalogue(), settings, IndexMetrics(CollectorRegistry()))
    assert closed == [bundle]


async def test_the_first_collection_is_created_for_the_bundle_of_the_service(bundles: BundleRepository) -> None:
    catalogue = MemoryGalleryCatalogue()
    async with _collections(bundles, catalogue) as collections:
        assert (await collections.live()).manifest.space == _space(bundles, "old")
        assert [one.live for one in await catalogue.collections()] == [True]


Lose = Callable[[], Awaitable[Any]]


@asynccontextmanager
async def _catalogue_that_loses(kind: str, root: Path, space: Any) -> AsyncIterator[tuple[GalleryCatalogue, Lose]]:
    """Return a catalogue, and a function that deletes one of its collections in the store."""
    settings, client, catalogue = StoreSettings(url="", edge_path=root / "edge"), make_local_qdrant_client(), None
    if kind == "edge":
        catalogue = await open_catalogue(settings)
        yield catalogue, partial(asyncio.to_thread, shutil.rmtree, root / "edge" / "collections" / space.id[:12])
    elif kind == "server":
        catalogue = QdrantServerCatalogue(settings, client)
        yield catalogue, partial(client.delete_collection, f"gallery-{space.id[:12]}")
    else:
        catalogue = MemoryGalleryCatalogue()
        store = await catalogue.collection(space)
        yield catalogue, partial(asyncio.to_thread, store.forget)
    await catalogue.close()


@pytest.mark.parametrize("kind", ["memory", "edge", "server"])
async def test_a_gallery_deleted_elsewhere_is_missing_until_a_new_one_is_created(
    bundles: BundleRepository, tmp_path: Path, kind: str
) -> None:
    space = _space(bundles, "old")
    async with (
        _catalogue_that_loses(kind, tmp_path, space) as (catalogue, lose),
        _collections(bundles, catalogue) as collections,
    ):
        await collections.index(_images(red=RED))
        await lose()
        index = partial(collections.index, _images(green=GREEN))
        for call in (collections.ready, index, collections.stores, partial(collections.build, "new")):
            with pytest.raises(GalleryMissingError, match=r"the gallery does not exist: .*aff gallery create"):
                await call()
        assert await catalogue.collections() == []
        await collections.create()
        assert _statuses(await collections.index(_images(green=GREEN))) == ["indexed"]
        assert await _ids(catalogue, space) == ["green"]
        await collections.create()
        assert await _ids(catalogue, space) == ["green"]


@pytest.mark.parametrize("kind", ["memory", "server"])
async def test_a_request_before_the_loss_is_detected_does_not_create_the_collection_again(
    bundles: BundleRepository, tmp_path: Path, kind: str
) -> None:
    async with (
        _catalogue_that_loses(kind, tmp_path, _space(bundles, "old")) as (catalogue, lose),
        _collections(bundles, catalogue, interval_s=60) as collections,
    ):
        await collections.index(_images(red=RED))
        await lose()
        with pytest.raises(GalleryMissingError):
            await collections.index(_images(red=RED))
        with pytest.raises(GalleryMissingError):
            await collections.up_to_date([LookupImage(id="red")])
        assert await catalogue.collections() == []


@pytest.mark.parametrize(("setting", "begins"), [("auto", False), ("never", False), ("always", True)])
async def test_a_service_that_starts_after_the_loss_creates_a_gallery_if_it_is_set_to(
    bundles: BundleRepository, tmp_path: Path, setting: Literal["auto", "always", "never"], begins: bool
) -> None:
    space = _space(bundles, "old")
    async with _catalogue_that_loses("edge", tmp_path, space) as (catalogue, lose):
        await catalogue.create(space)
        await lose()
    async with _catalogue_that_loses("edge", tmp_path, space) as (catalogue, _):
        if begins:
            async with _collections(bundles, catalogue, create_gallery=setting):
                assert [one.live for one in await catalogue.collections()] == [True]
            return
        with pytest.raises(GalleryMissingError):
            async with _collections(bundles, catalogue, create_gallery=setting):
                pass
        assert await catalogue.collections() == []


async def test_a_first_gallery_is_not_created_automatically_with_never(bundles: BundleRepository) -> None:
    with pytest.raises(GalleryMissingError, match="no gallery has been created"):
        async with _collections(bundles, MemoryGalleryCatalogue(), create_gallery="never"):
            pass


async def test_new_images_reach_every_collection_and_old_ones_when_they_are_indexed_again(
    bundles: BundleRepository,
) -> None:
    catalogue = MemoryGalleryCatalogue()
    async with _collections(bundles, catalogue) as collections:
        await collections.index(_images(red=RED))
        await collections.build("new")
        assert _statuses(await collections.index(_images(green=GREEN))) == ["indexed"]
        assert await _ids(catalogue, _space(bundles, "new")) == ["green"]
        assert _statuses(await collections.index(_images(red=RED, green=GREEN))) == ["indexed", "duplicate"]
    assert await _ids(catalogue, _space(bundles, "new")) == ["green", "red"]
    assert await _ids(catalogue, _space(bundles, "old")) == ["green", "red"]


async def test_an_image_is_up_to_date_when_every_collection_has_it(bundles: BundleRepository) -> None:
    async with _collections(bundles, MemoryGalleryCatalogue()) as collections:
        await collections.index(_images(red=RED))
        assert await collections.up_to_date([LookupImage(id="red")]) == ["red"]
        await collections.build("new")
        assert await collections.up_to_date([LookupImage(id="red")]) == []
        await collections.index(_images(red=RED))
        assert await collections.up_to_date([LookupImage(id="red")]) == ["red"]


async def test_an_image_that_one_collection_rejects_is_rejected(bundles: BundleRepository) -> None:
    async with _collections(bundles, MemoryGalleryCatalogue()) as collections:
        await collections.build("new")
        poison = plain_png((9, 9, 9))
        assert _statuses(await collections.index(_images(bad=poison, red=RED))) == ["rejected", "indexed"]


async def test_an_image_is_deleted_everywhere(bundles: BundleRepository) -> None:
    catalogue = MemoryGalleryCatalogue()
    async with _collections(bundles, catalogue) as collections:
        await collections.build("new")
        await collections.index(_images(red=RED, blue=BLUE))
        assert await EditGallery(collections, PayloadLimits(100)).delete(["red", "none"]) == 1
    assert await _ids(catalogue, _space(bundles, "old")) == ["blue"]
    assert await _ids(catalogue, _space(bundles, "new")) == ["blue"]


async def test_a_payload_is_changed_everywhere_and_no_image_is_embedded_again(bundles: BundleRepository) -> None:
    catalogue = MemoryGalleryCatalogue()
    async with _collections(bundles, catalogue) as collections:
        await collections.build("new")
        await collections.index(_images(red=RED))
        edit = EditGallery(collections, PayloadLimits(100))
        before = {name: await _point(catalogue, _space(bundles, name), "red") for name in ("old", "new")}
        assert await edit.change_payload("red", lambda payload: {**payload, "a": 1}) == {"a": 1}
        for name, point in before.items():
            after = await _point(catalogue, _space(bundles, name), "red")
            assert after.record.payload == {"a": 1}
            assert after.record.indexed_at == point.record.indexed_at
            assert (after.embedding == point.embedding).all()


async def test_matching_images_and_then_all_are_deleted_everywhere(bundles: BundleRepository) -> None:
    catalogue = MemoryGalleryCatalogue()
    async with _collections(bundles, catalogue) as collections:
        await collections.build("new")
        await collections.index(_images(red=RED, green=GREEN, blue=BLUE))
        edit = EditGallery(collections, PayloadLimits(100))
        await edit.change_payload("red", lambda _: {"warm": True})
        warm = PayloadFilter.model_validate({"must": [{"key": "warm", "match": True}]})
        assert await edit.delete_matching(warm) == 1
        for name in ("old", "new"):
            assert await _ids(catalogue, _space(bundles, name)) == ["blue", "green"]
        assert await edit.delete_all() == 2
        for name in ("old", "new"):
            assert await _ids(catalogue, _space(bundles, name)) == []


async def test_a_switch_and_a_drop_by_another_process_are_detected(bundles: BundleRepository) -> None:
    catalogue = MemoryGalleryCatalogue()
    async with _collections(bundles, catalogue) as collections:
        await catalogue.create(_space(bundles, "new"))
        await collections.index(_images(red=RED))
        assert await _ids(catalogue, _space(bundles, "new")) == ["red"]
        await catalogue.switch(_space(bundles, "new").id)
        assert (await collections.live()).manifest.space == _space(bundles, "new")
        await catalogue.drop(_space(bundles, "old").id)
        await collections.index(_images(blue=BLUE))
        assert collections.opened.runtime(_space(bundles, "old").id) is None
        assert await _ids(catalogue, _space(bundles, "new")) == ["blue", "red"]


async def test_a_collection_that_was_dropped_is_closed_when_its_last_request_ends(
    bundles: BundleRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue, watched = MemoryGalleryCatalogue(), _Watched(monkeypatch)
    async with _collections(bundles, catalogue, load=watched) as collections:
        await collections.build("new")
        watched.newest.gate.clear()
        request = asyncio.create_task(collections.index(_images(red=RED)))
        await asyncio.to_thread(watched.newest.called.wait, 10)
        await catalogue.drop(_space(bundles, "new").id)
        await collections.refresh()
        await asyncio.sleep(0.05)
        assert watched.closed == 0
        watched.newest.gate.set()
        assert _statuses(await request) == ["indexed"]
        await watched.wait_for_closed(1)


async def test_encoders_are_closed_and_freed_after_each_restoration(
    bundles: BundleRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = _Watched(monkeypatch)
    async with _collections(bundles, MemoryGalleryCatalogue(), load=watched) as collections:
        first = weakref.ref(watched.newest)
        for _ in range(5):
            await collections.reopen()
        await watched.wait_for_closed(5)
        await asyncio.sleep(0)
        gc.collect()
        assert first() is None
        assert _statuses(await collections.index(_images(red=RED))) == ["indexed"]
    assert watched.closed == 6


async def test_the_event_loop_is_not_blocked_while_a_collection_is_closed(
    bundles: BundleRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = _Watched(monkeypatch)
    async with _collections(bundles, MemoryGalleryCatalogue(), load=watched) as collections:
        watched.newest.gate.clear()
        request = asyncio.create_task(collections.index(_images(red=RED)))
        await asyncio.to_thread(watched.newest.called.wait, 10)
        closing = asyncio.ensure_future(collections.close())
        await asyncio.sleep(0.05)
        assert not closing.done()
        watched.newest.gate.set()  # set by this event loop, which is not blocked
        await closing
        request.cancel()
        await asyncio.wait([request])


async def test_a_service_loads_the_bundle_of_the_live_collection_when_it_starts(bundles: BundleRepository) -> None:
    catalogue = MemoryGalleryCatalogue()
    await catalogue.create(_space(bundles, "new"))
    async with _collections(bundles, catalogue) as collections:
        assert (await collections.live()).manifest.space == _space(bundles, "new")


async def test_a_live_collection_without_its_bundle_is_an_error(bundles: BundleRepository) -> None:
    catalogue = MemoryGalleryCatalogue()
    await catalogue.create(make_space("unknown", dimension=4))
    with pytest.raises(EmbeddingSpaceMismatchError):
        async with _collections(bundles, catalogue):
            pass


def _imported(bundles: BundleRepository) -> ImportedSpace:
    directory = bundles.default.parent / "clip"
    directory.mkdir()
    imported = describe_imported_space(directory, "clip", FakeGalleryEncoder.dimension)
    write_manifest(directory, imported)
    return imported


async def test_an_imported_gallery_is_managed_and_no_image_is_embedded_for_it(bundles: BundleRepository) -> None:
    catalogue, imported = MemoryGalleryCatalogue(), _imported(bundles)
    await catalogue.create(imported.space)
    async with _collections(bundles, catalogue) as collections:
        await (await catalogue.collection(imported.space)).upsert(
            [make_points(1, dimension=imported.space.dimension)[0]]
        )
        assert await collections.ready() == imported
        assert collections.opened.manifest(imported.space.id) == imported
        assert collections.opened.runtime(imported.space.id) is None
        assert await (await collections.live_store()).count() == 1
        for call in (collections.live(), collections.index(_images(red=RED)), collections.up_to_date([])):
            with pytest.raises(EncoderMissingError) as raised:
                await call
            assert raised.value.item == "clip"
        edit = EditGallery(collections, PayloadLimits(1000))
        assert await edit.change_payload("item-0", lambda _: {"city": "Bern"}) == {"city": "Bern"}
        assert await edit.delete_all() == 1


async def test_images_are_indexed_into_the_collection_that_replaces_an_imported_one(bundles: BundleRepository) -> None:
    catalogue, imported = MemoryGalleryCatalogue(), _imported(bundles)
    await catalogue.create(imported.space)
    async with _collections(bundles, catalogue) as collections:
        await collections.build("new")
        assert _statuses(await collections.index(_images(red=RED))) == ["indexed"]
        assert await _ids(catalogue, _space(bundles, "new")) == ["red"]
        assert await _ids(catalogue, imported.space) == []
        await catalogue.switch(_space(bundles, "new").id)
        await catalogue.drop(imported.space.id)
        assert (await collections.ready()).space == _space(bundles, "new")
        assert collections.opened.manifest(imported.space.id) is None


async def test_another_collection_without_its_bundle_is_not_updated_and_does_no_harm(bundles: BundleRepository) -> None:
    catalogue, unknown = MemoryGalleryCatalogue(), make_space("unknown", dimension=4)
    async with _collections(bundles, catalogue) as collections:
        await catalogue.create(unknown)
        assert _statuses(await collections.index(_images(red=RED))) == ["indexed"]
        assert collections.opened.runtime(unknown.id) is None
        assert await _ids(catalogue, unknown) == []


async def test_the_service_waits_for_a_store_that_is_unavailable_after_a_restoration(bundles: BundleRepository) -> None:
    store = DetachableGalleryStore()
    async with _collections(bundles, MemoryGalleryCatalogue(store)) as collections:
        await collections.index(_images(red=RED))
        store.away = True
        with pytest.raises(StoreUnavailableError):
            await collections.reopen()
        with pytest.raises(StoreUnavailableError):
            await collections.index(_images(green=GREEN))
        store.away = False
        assert _statuses(await collections.index(_images(red=RED, green=GREEN))) == ["duplicate", "indexed"]


async def test_a_bundle_that_was_replaced_under_a_running_service_is_an_error(bundles: BundleRepository) -> None:
    async with _collections(bundles, MemoryGalleryCatalogue()) as collections:
        shutil.rmtree(bundles.default)
        with pytest.raises(EmbeddingSpaceMismatchError, match="replaced"):
            await collections.reopen()


@pytest.mark.parametrize("name", ["none", "../old", "."])
async def test_a_bundle_cannot_be_named_by_a_path(bundles: BundleRepository, name: str) -> None:
    async with _collections(bundles, MemoryGalleryCatalogue()) as collections:
        with pytest.raises(BundleUnknownError, match="there are new, old"):
            await collections.build(name)


async def test_receipts_and_rejections_are_counted_once_for_all_collections(bundles: BundleRepository) -> None:
    registry = CollectorRegistry()
    async with _collections(bundles, MemoryGalleryCatalogue(), registry) as collections:
        await collections.build("new")
        await collections.index([*_images(red=RED, broken=b""), *_images(red=RED)])
    counted = {
        status: registry.get_sample_value("aff_index_receipts_total", {"status": status})
        for status in ("indexed", "duplicate", "rejected")
    }
    assert counted == {"indexed": 1, "duplicate": 1, "rejected": 1}
    assert registry.get_sample_value("aff_index_rejected_total", {"code": "image_empty"}) == 1
