"""The contract of every gallery store, run on each of them.

The server adapter runs on qdrant-client's in-memory mode, and over gRPC and REST on a real server where
`QDRANT_URL` names one (with `QDRANT_API_KEY` and `QDRANT_GRPC_PORT` where it needs them).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from aff_shared.errors import EmbeddingSpaceMismatchError, GalleryMissingError, InvalidParameterError
from aff_shared.schemas.browsing import GalleryOrder
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.gallery_store import GalleryPoint, GalleryStore
from aff_shared.store.layout import point_id
from aff_shared.store.settings import StoreSettings
from tests.support.filter_cases import FILTERS, PHOTOGRAPHS
from tests.support.gallery_points import make_point, make_points, make_space, random_units, unit

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]

SPACE = make_space()


def _assert_same(found: GalleryPoint, expected: GalleryPoint) -> None:
    assert found.record == expected.record
    assert found.embedding.dtype == np.float32
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-6)


async def _scroll_ids(store: GalleryStore, *, limit: int, **arguments: Any) -> list[str]:
    ids, cursor = [], None
    while True:
        page = await store.scroll(limit=limit, cursor=cursor, **arguments)
        assert len(page.points) <= limit
        ids += [point.record.item_id for point in page.points]
        if page.cursor is None:
            return ids
        cursor = page.cursor


async def test_a_new_gallery_is_empty_and_has_its_space(store: GalleryStore) -> None:
    assert await store.space() == SPACE
    assert await store.count() == 0
    assert await store.search(unit([1] * 8), limit=5) == []
    assert (await store.scroll(limit=5)).points == []


async def test_creating_the_same_gallery_again_keeps_its_points(store: GalleryStore) -> None:
    await store.upsert(make_points(3))
    await store.create(SPACE)
    assert await store.count() == 3


async def test_a_gallery_of_another_space_is_rejected_and_left_untouched(store: GalleryStore) -> None:
    await store.upsert(make_points(3))
    with pytest.raises(EmbeddingSpaceMismatchError, match="index the gallery again"):
        await store.create(make_space("another space"))
    assert await store.space() == SPACE
    assert await store.count() == 3


async def test_creations_at_the_same_moment_make_one_gallery(empty_store: GalleryStore) -> None:
    await asyncio.gather(*(empty_store.create(SPACE) for _ in range(4)))
    assert await empty_store.space() == SPACE


async def test_every_operation_reports_that_the_gallery_is_missing(empty_store: GalleryStore) -> None:
    point = make_points(1)[0]
    anything = PayloadFilter.model_validate({"must": [{"key": "a", "match": 1}]})
    for operation in (
        empty_store.space(),
        empty_store.upsert([point]),
        empty_store.fetch(["a"]),
        empty_store.delete(["a"]),
        empty_store.delete_matching(anything),
        empty_store.search(point.embedding, limit=1),
        empty_store.count(),
        empty_store.scroll(limit=1),
        empty_store.records(limit=1, order="id"),
        empty_store.facet("a", limit=1),
    ):
        with pytest.raises(GalleryMissingError):
            await operation


async def test_a_fetched_point_is_the_point_that_was_written(store: GalleryStore) -> None:
    payload = {"title": "Köln ☃ 日本", "n": None, "list": [1, 2.5, "x", {"deep": [True]}], "": "empty key"}
    point = make_point("a", unit(range(1, 9)), payload)
    await store.upsert([point])
    _assert_same((await store.fetch(["a"]))["a"], point)


@pytest.mark.parametrize("extractors", [None, (), ("one",)])
async def test_a_record_keeps_which_extractors_found_something(
    store: GalleryStore, extractors: tuple[str, ...] | None
) -> None:
    point = make_point("a", unit([1] * 8))
    point = replace(point, record=replace(point.record, extractors=extractors))
    await store.upsert([point])
    assert (await store.fetch(["a"]))["a"].record.extractors == extractors
    assert (await store.search(unit([1] * 8), limit=1))[0].record.extractors == extractors


@pytest.mark.parametrize("item_id", ["straße/été.jpg", "../../etc/passwd", "日本 語", "a?b#c%20d", "x" * 512])
async def test_ids_may_be_any_text(store: GalleryStore, item_id: str) -> None:
    await store.upsert([make_point(item_id, unit([1] * 8))])
    assert list(await store.fetch([item_id])) == [item_id]
    assert (await store.search(unit([1] * 8), limit=1))[0].record.item_id == item_id
    await store.delete([item_id])
    assert await store.count() == 0


COMPOSED, DECOMPOSED = "Z\u00fcrich/caf\u00e9.jpg", "Zu\u0308rich/cafe\u0301.jpg"


@pytest.mark.parametrize(("kept", "requested"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (COMPOSED, COMPOSED)])
async def test_an_id_names_one_point_in_either_normalisation(store: GalleryStore, kept: str, requested: str) -> None:
    await store.upsert([replace(make_point(kept, unit([1] * 8)), thumbnail=b"small"), make_point("b", unit([1] * 8))])
    found = await store.fetch([requested, "b"])
    assert {item_id: point.record.item_id for item_id, point in found.items()} == {requested: kept, "b": "b"}
    assert await store.thumbnails([requested]) == {requested: b"small"}
    await store.set_payload(requested, {"new": 1})
    assert (await store.fetch([kept]))[kept].record.payload == {"new": 1}
    await store.delete([requested])
    assert list(await store.fetch([kept, requested, "b"])) == ["b"]


async def test_a_point_takes_the_place_of_one_whose_id_differs_in_its_normalisation(store: GalleryStore) -> None:
    await store.upsert([make_point(DECOMPOSED, unit([1] * 8), {"old": 1})])
    await store.upsert([make_point(COMPOSED, unit([1] * 8), {"new": 1})])
    (point,) = (await store.scroll(limit=9)).points
    assert (point.record.item_id, point.record.payload) == (COMPOSED, {"new": 1})


async def test_fetch_returns_only_the_ids_that_exist(store: GalleryStore) -> None:
    await store.upsert(make_points(3))
    assert set(await store.fetch(["item-2", "nobody", "item-0"])) == {"item-0", "item-2"}


async def test_no_ids_and_no_points_are_no_work(store: GalleryStore) -> None:
    await store.upsert(make_points(1))
    await store.upsert([])
    await store.delete([])
    assert await store.fetch([]) == {}
    assert await store.count() == 1


async def test_writing_an_item_again_replaces_it_whole(store: GalleryStore) -> None:
    await store.upsert([make_point("a", unit([1, 0, 0, 0, 0, 0, 0, 0]), {"old": 1, "both": 1})])
    replacement = make_point("a", unit([0, 1, 0, 0, 0, 0, 0, 0]), {"both": 2})
    await store.upsert([replacement])
    assert await store.count() == 1
    _assert_same((await store.fetch(["a"]))["a"], replacement)


async def test_more_points_than_a_batch_are_all_written(store: GalleryStore) -> None:
    await store.upsert(make_points(300))
    assert await store.count() == 300


async def test_a_big_payload_is_returned_completely(store: GalleryStore) -> None:
    payload = {"text": "ä" * 200_000, "numbers": list(range(5_000))}
    await store.upsert([make_point("a", unit([1] * 8), payload)])
    assert (await store.fetch(["a"]))["a"].record.payload == payload


async def test_a_payload_is_replaced_and_nothing_else_of_its_point(store: GalleryStore) -> None:
    first, second = make_points(2)
    await store.upsert([replace(first, thumbnail=b"small"), second])
    await store.set_payload("item-0", {"new": {"a": [1]}})
    await store.set_payload("nobody", {"new": 1})
    found = await store.fetch(["item-0", "item-1", "nobody"])
    assert found["item-0"].record == replace(first.record, payload={"new": {"a": [1]}})
    np.testing.assert_allclose(found["item-0"].embedding, first.embedding, atol=1e-6)
    assert found["item-1"].record == second.record
    assert await store.thumbnails(["item-0"]) == {"item-0": b"small"}
    assert await store.count() == 2


async def test_thumbnails_are_read_by_their_own_call_alone(store: GalleryStore) -> None:
    with_one, without = make_points(2)
    thumbnail = bytes(range(256))
    await store.upsert([replace(with_one, thumbnail=thumbnail), without])
    assert await store.thumbnails(["item-0", "item-1", "nobody"]) == {"item-0": thumbnail}
    assert [point.thumbnail for point in (await store.fetch(["item-0", "item-1"])).values()] == [None, None]
    assert [point.thumbnail for point in (await store.scroll(limit=9)).points] == [None, None]
    await store.upsert([with_one])
    assert await store.thumbnails(["item-0"]) == {}


async def test_deleted_points_are_gone_and_unknown_ids_passed_over(store: GalleryStore) -> None:
    await store.upsert(make_points(4))
    await store.delete(["item-1", "nobody", "item-3"])
    assert await store.count() == 2
    hits = await store.search(unit([1] * 8), limit=10)
    assert {hit.record.item_id for hit in hits} == {"item-0", "item-2"}


async def test_delete_matching_deletes_what_the_filter_matches_and_nothing_else(store: GalleryStore) -> None:
    await store.upsert(make_points(40))
    small = PayloadFilter.model_validate({"must": [{"key": "number", "range": {"lt": 30}}]})
    await store.delete_matching(small)
    assert set(await _scroll_ids(store, limit=100)) == {f"item-{i}" for i in range(30, 40)}
    await store.delete_matching(small)
    assert await store.count() == 10


@pytest.mark.parametrize("exact", [True, False])
async def test_search_ranks_by_cosine_similarity(store: GalleryStore, exact: bool) -> None:
    points = make_points(60)
    await store.upsert(points)
    for query in random_units(5, seed=1):
        scores = {
            point.record.item_id: sum(float(a) * float(b) for a, b in zip(point.embedding, query, strict=True))
            for point in points
        }
        expected = sorted(scores, key=lambda item_id: -scores[item_id])[:10]
        hits = await store.search(query, limit=10, exact=exact)
        assert [hit.record.item_id for hit in hits] == expected
        assert [hit.score for hit in hits] == pytest.approx([scores[item_id] for item_id in expected], abs=1e-5)


async def test_a_limit_above_the_count_returns_everything(store: GalleryStore) -> None:
    await store.upsert(make_points(7))
    assert len(await store.search(unit([1] * 8), limit=10_000)) == 7
    assert len((await store.scroll(limit=10_000)).points) == 7


async def test_the_score_threshold_keeps_scores_at_or_above_it(store: GalleryStore) -> None:
    east, north = unit([1, 0, 0, 0, 0, 0, 0, 0]), unit([0, 1, 0, 0, 0, 0, 0, 0])
    between = unit([1, 1, 0, 0, 0, 0, 0, 0])
    await store.upsert([make_point("east", east), make_point("north", north), make_point("between", between)])

    async def found(threshold: float) -> list[str]:
        return [hit.record.item_id for hit in await store.search(east, limit=9, score_threshold=threshold)]

    assert await found(1.0) == ["east"]
    assert await found(0.70) == ["east", "between"]
    assert await found(0.71) == ["east"]
    assert await found(0.0) == ["east", "between", "north"]
    assert await found(-1.0) == ["east", "between", "north"]


async def test_a_search_returns_embeddings_on_request(store: GalleryStore) -> None:
    point = make_point("one", unit([1, 2, 3, 4, 5, 6, 7, 8]))
    await store.upsert([point])
    (hit,) = await store.search(unit([1] * 8), limit=1, with_embeddings=True)
    assert hit.embedding is not None
    np.testing.assert_allclose(hit.embedding, point.embedding, atol=1e-6)
    assert hit.embedding.dtype == np.float32
    (hit,) = await store.search(unit([1] * 8), limit=1)
    assert hit.embedding is None


async def test_a_filter_means_the_same_in_search_count_and_scroll(store: GalleryStore) -> None:
    embeddings = random_units(len(PHOTOGRAPHS), seed=2)
    points = [
        make_point(item_id, embedding, payload)
        for (item_id, payload), embedding in zip(PHOTOGRAPHS.items(), embeddings, strict=True)
    ]
    await store.upsert(points)
    for name, (document, expected) in FILTERS.items():
        payload_filter = PayloadFilter.model_validate(document)
        hits = await store.search(unit([1] * 8), limit=10, payload_filter=payload_filter)
        assert {hit.record.item_id for hit in hits} == expected, name
        assert await store.count(payload_filter) == len(expected), name
        assert set(await _scroll_ids(store, limit=2, payload_filter=payload_filter)) == expected, name


async def test_filter_threshold_and_limit_work_together(store: GalleryStore) -> None:
    await store.upsert(make_points(60))
    query = unit([1] * 8)
    even = PayloadFilter.model_validate({"must": [{"key": "number", "any_of": list(range(0, 60, 2))}]})
    ranked = await store.search(query, limit=60, exact=True)
    expected = [hit.record.item_id for hit in ranked if hit.score >= 0.1 and hit.record.payload["number"] % 2 == 0]
    hits = await store.search(query, limit=5, payload_filter=even, score_threshold=0.1, exact=True)
    assert [hit.record.item_id for hit in hits] == expected[:5]


@pytest.mark.parametrize("limit", [1, 7, 25, 100])
async def test_scrolling_meets_every_point_once(store: GalleryStore, limit: int) -> None:
    await store.upsert(make_points(25))
    ids = await _scroll_ids(store, limit=limit)
    assert sorted(ids) == sorted(f"item-{i}" for i in range(25))


async def test_scrolled_points_have_their_embeddings(store: GalleryStore) -> None:
    points = {point.record.item_id: point for point in make_points(5)}
    await store.upsert(list(points.values()))
    for found in (await store.scroll(limit=5)).points:
        _assert_same(found, points[found.record.item_id])


async def test_writes_and_searches_at_the_same_time_lose_nothing(store: GalleryStore) -> None:
    points = make_points(200)
    writes = [store.upsert(points[start : start + 10]) for start in range(0, 200, 10)]
    searches = [store.search(unit([1] * 8), limit=5) for _ in range(20)]
    await asyncio.gather(*(operation for pair in zip(writes, searches, strict=True) for operation in pair))
    assert await store.count() == 200
    assert set(await _scroll_ids(store, limit=64)) == {f"item-{i}" for i in range(200)}


async def test_a_written_point_is_visible_to_the_next_call(store: GalleryStore) -> None:
    for number in range(20):
        await store.upsert([make_point(f"item-{number}", unit([1] * 8))])
        assert await store.count() == number + 1


MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ORDERS: list[GalleryOrder] = ["newest", "oldest", "id"]


def _points_of_times(offsets_us: Sequence[int]) -> list[GalleryPoint]:
    """Return points `item-0`, `item-1`, ... whose times are these microseconds after MOMENT."""
    return [
        replace(point, record=replace(point.record, indexed_at=MOMENT + timedelta(microseconds=offset)))
        for point, offset in zip(make_points(len(offsets_us)), offsets_us, strict=True)
    ]


async def _record_pages(store: GalleryStore, *, limit: int, order: GalleryOrder, **arguments: Any) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        page = await store.records(limit=limit, order=order, cursor=cursor, **arguments)
        assert len(page.records) <= limit
        pages.append([record.item_id for record in page.records])
        if page.cursor is None:
            return pages
        cursor = page.cursor


@pytest.mark.parametrize("offsets_us", [range(12), [0] * 12, [5, 5, 5, 1, 2, 2, 9, 9, 9, 9, 0, 1]], ids=str)
async def test_pages_of_records_have_each_image_once_in_order(store: GalleryStore, offsets_us: Sequence[int]) -> None:
    points = _points_of_times(offsets_us)
    await store.upsert(points)
    await store.index_payload()
    for order, sign in {"newest": -1, "oldest": 1, "id": 0}.items():
        expected = sorted(
            (point.record for point in points),
            key=lambda record: (sign * (record.indexed_at - MOMENT), point_id(record.item_id)),
        )
        for limit in (1, 2, 3, 5, 50):
            pages = await _record_pages(store, limit=limit, order=cast("GalleryOrder", order))
            assert [item_id for page in pages for item_id in page] == [record.item_id for record in expected]
            assert {len(page) for page in pages[:-1]} <= {limit}


@pytest.mark.parametrize("order", ORDERS)
async def test_pages_of_records_contain_what_a_filter_matches(store: GalleryStore, order: GalleryOrder) -> None:
    await store.upsert(_points_of_times([0, 3, 3, 3, 1, 3, 2, 3]))
    await store.index_payload()
    chosen = PayloadFilter.model_validate({"must": [{"key": "number", "range": {"gte": 3}}]})
    pages = await _record_pages(store, limit=2, order=order, payload_filter=chosen)
    found = [item_id for page in pages for item_id in page]
    assert sorted(found) == ["item-3", "item-4", "item-5", "item-6", "item-7"]
    if order == "newest":
        assert found[3:] == ["item-6", "item-4"]


@pytest.mark.parametrize("offsets_us", [range(9), [4] * 9], ids=str)
async def test_images_that_are_added_and_deleted_between_pages_shift_nothing(
    store: GalleryStore, offsets_us: Sequence[int]
) -> None:
    points = _points_of_times([*offsets_us, 100, 101])
    await store.upsert(points[:9])
    await store.index_payload()
    first = await store.records(limit=3, order="newest")
    seen = [record.item_id for record in first.records]
    others = [point.record.item_id for point in points[:9] if point.record.item_id not in seen]
    await store.delete([seen[0], seen[2], others[1]])
    await store.upsert(points[9:])
    rest, cursor = [], first.cursor
    while cursor is not None:
        page = await store.records(limit=2, order="newest", cursor=cursor)
        rest += [record.item_id for record in page.records]
        cursor = page.cursor
    assert sorted(rest) == sorted(set(others) - {others[1]})


async def test_records_are_those_that_were_written(store: GalleryStore) -> None:
    point = replace(make_point("a", unit([1] * 8), {"n": [1, {"deep": None}]}), thumbnail=b"small")
    await store.upsert([point])
    await store.index_payload()
    for order in ORDERS:
        assert (await store.records(limit=5, order=order)).records == [point.record]


MALFORMED_CURSORS: list[tuple[GalleryOrder, str]] = [
    ("newest", "nonsense"),
    ("newest", ""),
    ("newest", "n"),
    ("newest", "o1767323045678901"),
    ("newest", "n999999999999999999"),
    ("newest", "n1767323045678901.zz"),
    ("oldest", "i." + "0" * 32),
    ("id", "i"),
    ("id", "i5." + "0" * 32),
    ("id", "i." + "f" * 32),  # the last point, and the first and last moment
    ("newest", "n1767323045678901." + "f" * 32),
    ("newest", "n-62135596800000000"),
    ("oldest", "o253402300799999999"),
]


async def test_a_malformed_cursor_of_records_is_rejected(store: GalleryStore) -> None:
    await store.index_payload()
    for order, cursor in MALFORMED_CURSORS:
        with pytest.raises(InvalidParameterError, match="next_cursor"):
            await store.records(limit=5, order=order, cursor=cursor)


async def test_a_gallery_that_was_indexed_without_times_can_be_read_by_time(tmp_path: Path) -> None:
    settings = StoreSettings(url="", edge_path=tmp_path)
    store = await QdrantEdgeStore.open(tmp_path, settings)
    await store.create(SPACE)
    await store.upsert(_points_of_times([2, 1, 3]))  # as a release without the index of times
    assert await _record_pages(store, limit=5, order="newest") == [["item-2", "item-0", "item-1"]]
    await store.close()
