"""The HNSW graph: 3,000 vectors of 32 numbers are 375 kB, so a threshold of 100 kB requires one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aff_shared.errors import StoreError
from aff_shared.store.embedded import graph
from aff_shared.store.embedded import store as qdrant_edge
from aff_shared.store.embedded.graph import index_in_child, indexing_pays
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.settings import StoreSettings
from tests.support.gallery_points import make_point, make_points, make_space, random_units, unit

pytestmark = pytest.mark.anyio

SPACE = make_space(dimension=32)


async def _open(directory: Path) -> QdrantEdgeStore:
    return await QdrantEdgeStore.open(directory, StoreSettings(url="", indexing_threshold_kb=100))


def _shards(directory: Path) -> list[Path]:
    return list(directory.glob("shard-*"))


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a test watches from outside
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant_edge, "QUIET_S", 0.05)


async def _filled(directory: Path) -> QdrantEdgeStore:
    store = await _open(directory)
    await store.create(SPACE)
    await store.upsert(make_points(3_000, dimension=32))
    return store


async def test_the_graph_finds_what_exact_search_finds(tmp_path: Path) -> None:
    store = await _filled(tmp_path)
    before = _shards(tmp_path)
    await _until(lambda: len(_shards(tmp_path)) == 1 and _shards(tmp_path) != before)
    found = 0
    for query in random_units(20, dimension=32, seed=5):
        exact = {hit.record.item_id for hit in await store.search(query, limit=10, exact=True)}
        found += len(exact & {hit.record.item_id for hit in await store.search(query, limit=10)})
    assert found >= 190, "recall@10 of the graph is below 95 %"
    assert await store.count() == 3_000
    await store.close()


async def test_what_is_written_while_the_graph_is_built_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow_index(shard_path: Path) -> None:
        started.set()
        await go_on.wait()
        await graph.index_in_child(shard_path)

    monkeypatch.setattr(qdrant_edge, "index_in_child", slow_index)
    store = await _filled(tmp_path)
    before = _shards(tmp_path)
    await started.wait()
    replacement = make_point("item-1", random_units(1, dimension=32, seed=9)[0], {"new": True})
    newcomer = make_point("newcomer", random_units(1, dimension=32, seed=10)[0])
    await store.upsert([replacement, newcomer])
    await store.delete(["item-2", "nobody"])
    go_on.set()
    await _until(lambda: len(_shards(tmp_path)) == 1 and _shards(tmp_path) != before)
    await store.close()

    again = await _open(tmp_path)
    assert await again.count() == 3_000
    found = await again.fetch(["item-1", "item-2", "newcomer"])
    assert set(found) == {"item-1", "newcomer"}
    assert found["item-1"].record.payload == {"new": True}
    np.testing.assert_allclose(found["item-1"].embedding, replacement.embedding, atol=1e-6)
    await again.close()


@pytest.mark.slow
async def test_a_large_gallery_without_a_graph_is_indexed_after_opening(tmp_path: Path) -> None:
    store = await _filled(tmp_path)
    await store.close()
    before = _shards(tmp_path)
    again = await _open(tmp_path)
    await _until(lambda: len(_shards(tmp_path)) == 1 and _shards(tmp_path) != before)
    assert await again.count() == 3_000
    await again.close()


@pytest.fixture
def endless_graph(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Graphs that never end; set once one was started."""
    started = asyncio.Event()

    async def endless_index(_: Path) -> None:
        started.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(qdrant_edge, "index_in_child", endless_index)
    return started


async def test_closing_cancels_an_unfinished_graph(tmp_path: Path, endless_graph: asyncio.Event) -> None:
    store = await _filled(tmp_path)
    before = _shards(tmp_path)
    await endless_graph.wait()
    assert len(_shards(tmp_path)) == 2
    await store.close()
    assert _shards(tmp_path) == before


@pytest.mark.parametrize("error", [StoreError("no space left"), RuntimeError("can't start new thread")])
async def test_a_failed_graph_is_logged_and_costs_nothing_else(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def failing_index(_: Path) -> None:
        raise error

    monkeypatch.setattr(qdrant_edge, "index_in_child", failing_index)
    with caplog.at_level(logging.WARNING):
        store = await _filled(tmp_path)
        await _until(lambda: str(error) in caplog.text and len(_shards(tmp_path)) == 1)
    await store.upsert([make_point("newcomer", unit([1] * 32))])
    assert await store.count() == 3_001
    await store.close()


async def test_a_graph_whose_caller_is_cancelled_is_abandoned(tmp_path: Path, endless_graph: asyncio.Event) -> None:
    store = await _filled(tmp_path)
    before = _shards(tmp_path)
    building = asyncio.create_task(store.build_graph())
    await endless_graph.wait()
    building.cancel()
    await asyncio.wait([building])
    assert building.cancelled()
    assert store._gallery._copy is None
    assert _shards(tmp_path) == before
    await store.close()


def _id_bytes(directory: Path) -> int:
    """Bytes of the table that has a row for every point that was ever written."""
    return sum(file.stat().st_size for file in directory.rglob("*id_tracker.versions"))


@pytest.mark.slow
async def test_added_and_deleted_images_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant_edge, "QUIET_S", 0.0)
    store = await QdrantEdgeStore.open(tmp_path, StoreSettings(url=""))
    await store.create(SPACE)
    kept = make_points(100, dimension=32)
    await store.upsert(kept)
    first = _shards(tmp_path)
    passing = make_points(1_100, dimension=32)[100:]
    await store.upsert(passing)
    await store.delete([point.record.item_id for point in passing])
    await _until(lambda: len(_shards(tmp_path)) == 1 and _shards(tmp_path) != first)
    assert _id_bytes(tmp_path) == 8 * 100
    assert await store.count() == 100
    await store.close()


@pytest.mark.slow
async def test_writes_that_never_rest_do_not_put_a_graph_off_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qdrant_edge, "QUIET_S", 60.0)
    monkeypatch.setattr(qdrant_edge, "LONGEST_S", 0.2)
    store = await _filled(tmp_path)
    before = _shards(tmp_path)
    await _until(lambda: len(_shards(tmp_path)) == 1 and _shards(tmp_path) != before)
    await store.close()


@pytest.mark.parametrize(
    ("points", "indexed", "pays"),
    [
        (0, 0, False),
        (200, 0, False),  # 200 * 128 * 4 bytes are the threshold exactly
        (201, 0, True),
        (10_000, 10_000, False),
        (10_000, 8_001, False),  # more than the threshold, but less than a fifth
        (10_000, 8_000, True),
    ],
)
def test_indexing_pays_above_the_threshold_and_after_a_fifth_of_growth(points: int, indexed: int, pays: bool) -> None:
    assert indexing_pays(points=points, indexed=indexed, dead=0, dimension=128, threshold_kb=100) is pays


@pytest.mark.parametrize(("dead", "pays"), [(999, False), (1_000, True)])
def test_a_small_gallery_is_rewritten_after_a_thousand_deletions(dead: int, pays: bool) -> None:
    assert indexing_pays(points=10, indexed=0, dead=dead, dimension=128, threshold_kb=100) is pays


@pytest.mark.parametrize(("dead", "pays"), [(4_999, False), (5_000, True)])
def test_a_gallery_is_rewritten_when_half_as_many_were_deleted_as_it_holds(dead: int, pays: bool) -> None:
    assert indexing_pays(points=10_000, indexed=10_000, dead=dead, dimension=128, threshold_kb=100) is pays


@pytest.mark.anyio
async def test_a_child_that_fails_reports_the_cause(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"(?s)indexing ended with status 1.*does not exist"):
        await index_in_child(tmp_path / "nothing")


@pytest.mark.anyio
async def test_cancelling_ends_the_child(tmp_path: Path) -> None:
    task = asyncio.create_task(index_in_child(tmp_path / "nothing"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
