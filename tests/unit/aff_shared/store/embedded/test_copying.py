"""Searches continue while the files of an embedded collection are copied, and the copy is consistent."""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.store.embedded import graph
from aff_shared.store.embedded import store as qdrant_edge
from aff_shared.store.embedded.graph import copy_files
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.layout import filter_key
from aff_shared.store.settings import StoreSettings
from tests.support.gallery_points import make_point, make_points, make_space, random_units, unit

pytestmark = pytest.mark.anyio

SPACE = make_space(dimension=32)
QUERY = random_units(1, dimension=32, seed=5)[0]


class _SlowCopy:
    """Copies when it is allowed to, and records that it was called."""

    def __init__(self) -> None:
        self.begun, self.gate = asyncio.Event(), asyncio.Event()

    async def __call__(self, source: Path, target: Path) -> None:
        self.begun.set()
        await self.gate.wait()
        await copy_files(source, target)


@pytest.fixture(autouse=True)
def _no_graph_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant_edge, "QUIET_S", 3600.0)


@pytest.fixture
def slow_copy(monkeypatch: pytest.MonkeyPatch) -> _SlowCopy:
    copy = _SlowCopy()
    monkeypatch.setattr(qdrant_edge, "copy_files", copy)
    return copy


async def _filled(directory: Path, images: int, **settings: int) -> QdrantEdgeStore:
    store = await QdrantEdgeStore.open(directory, StoreSettings(url="", upsert_batch_size=1_000, **settings))  # type: ignore[arg-type]
    await store.create(SPACE)
    await store.upsert(make_points(images, dimension=32))
    return store


async def _ids(directory: Path) -> list[str]:
    store = await QdrantEdgeStore.open(directory, StoreSettings(url=""))
    page = await store.scroll(limit=100_000)
    await store.close()
    return sorted(point.record.item_id for point in page.points)


def _empty_a_file(directory: Path) -> None:
    next(path for path in directory.rglob("*") if path.is_file() and path.stat().st_size).write_bytes(b"")


@pytest.mark.slow
async def test_searches_go_on_and_writes_wait_while_files_are_copied(tmp_path: Path, slow_copy: _SlowCopy) -> None:
    store = await _filled(tmp_path / "gallery", 3_000, indexing_threshold_kb=100)
    copying = asyncio.ensure_future(store.build_graph())
    await slow_copy.begun.wait()
    writing = [
        asyncio.ensure_future(store.upsert([make_point("late", QUERY)])),
        asyncio.ensure_future(store.delete(["item-1"])),
    ]
    async with asyncio.timeout(10):
        found = {hit.record.item_id for hit in await store.search(QUERY, limit=3_000, exact=True)}
        await store.create(SPACE)  # as every request of the indexer does first
    assert len(found) == 3_000
    assert "late" not in found
    assert not any(write.done() for write in writing)
    slow_copy.gate.set()
    await asyncio.gather(copying, *writing)
    assert set(await store.fetch(["late", "item-1"])) == {"late"}
    assert await store.count() == 3_000
    await store.close()
    kept = set(await _ids(tmp_path / "gallery"))
    assert len(kept) == 3_000
    assert kept & {"late", "item-1"} == {"late"}


@pytest.mark.slow
async def test_a_process_that_dies_while_it_copies_leaves_the_gallery_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await _filled(tmp_path / "gallery", 3_000, indexing_threshold_kb=100)
    as_it_died = tmp_path / "died"

    async def half(source: Path, target: Path) -> None:
        await copy_files(source, target)
        _empty_a_file(target)
        shutil.copytree(tmp_path / "gallery", as_it_died, ignore=shutil.ignore_patterns("tmp-*"))
        raise OSError("the disk is full")

    monkeypatch.setattr(qdrant_edge, "copy_files", half)
    await store.build_graph()
    await store.upsert([make_point("late", QUERY)])  # writes continue after a copy that failed
    await store.close()
    assert len(list((tmp_path / "gallery").glob("shard-*"))) == 1
    assert len(list(as_it_died.glob("shard-*"))) == 2
    assert await _ids(as_it_died) == sorted(f"item-{number}" for number in range(3_000))
    assert len(list(as_it_died.glob("shard-*"))) == 1


async def test_closing_does_not_wait_for_the_end_of_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await _filled(tmp_path / "gallery", 3_000, indexing_threshold_kb=100)
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def endless(source: Path, target: Path, given_up: threading.Event) -> None:
        target.touch()
        loop.call_soon_threadsafe(begun.set)
        given_up.wait()
        raise graph._CopyGivenUpError

    monkeypatch.setattr(graph, "_copy_file", endless)
    building = asyncio.create_task(store.build_graph())
    await begun.wait()
    async with asyncio.timeout(10):
        await store.close()
    await asyncio.wait([building])
    assert len(list((tmp_path / "gallery").glob("shard-*"))) == 1


def test_a_given_up_copy_writes_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(bytes(3))
    given_up = threading.Event()
    given_up.set()
    with pytest.raises(graph._CopyGivenUpError):
        graph._copy(tmp_path / "source", tmp_path / "target", given_up)
    assert (tmp_path / "target" / "file").read_bytes() == b""


async def test_changes_beyond_one_step_are_all_brought_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aff_shared.store.embedded.graph._AT_ONCE", 7)
    store = await _filled(tmp_path, 3_000, indexing_threshold_kb=100)

    async def meanwhile(_: Path) -> None:
        await store.upsert([make_point(f"late-{number}", QUERY) for number in range(50)])
        await store.delete([f"item-{number}" for number in range(20)])

    monkeypatch.setattr(qdrant_edge, "index_in_child", meanwhile)
    await store.build_graph()
    await store.close()
    expected = {f"item-{number}" for number in range(20, 3_000)} | {f"late-{number}" for number in range(50)}
    assert set(await _ids(tmp_path)) == expected


async def test_payload_indexes_created_while_the_graph_is_built_are_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema: dict[str, Any] = {"city": "keyword", "year": "integer"}
    declared = StoreSettings(url="", upsert_batch_size=1_000, indexing_threshold_kb=100, payload_schema=schema)
    store = await QdrantEdgeStore.open(tmp_path, declared)
    await store.create(SPACE)
    await store.upsert(make_points(3_000, dimension=32))

    async def meanwhile(_: Path) -> None:
        await store.index_payload()

    monkeypatch.setattr(qdrant_edge, "index_in_child", meanwhile)
    before = store._gallery._shard
    await store.build_graph()
    assert store._gallery._shard is not before
    assert set(store._gallery._shard.info().payload_schema) == {
        filter_key("city"),
        filter_key("year"),
        "indexed_at",
    }
    await store.close()


async def test_a_filter_deletes_more_than_one_step_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aff_shared.store.embedded.shard._DELETED_AT_ONCE", 10)
    store = await _filled(tmp_path, 0)
    await store.upsert([make_point(f"{number}", unit([1] * 32), {"even": number % 2 == 0}) for number in range(100)])
    await store.delete_matching(PayloadFilter.model_validate({"must": [{"key": "even", "match": True}]}))
    await store.close()
    assert await _ids(tmp_path) == sorted(str(number) for number in range(1, 100, 2))
