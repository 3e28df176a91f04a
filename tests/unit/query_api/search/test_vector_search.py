from __future__ import annotations

import numpy as np
import pytest

from aff_shared.errors import StoreRefusalError
from aff_shared.schemas.searching import HitOptions
from aff_shared.store.gallery_store import Embedding, GalleryHit
from query_api.search.vector_search import VectorSearch, expanded
from tests.support.gallery_points import make_point, make_space, unit
from tests.support.memory_gallery_store import MemoryGalleryStore

EAST = unit([1, 0, 0])
PLACES = {"a1": "a", "a2": "a", "b1": "b", "none": None, "c1": "c"}

pytestmark = pytest.mark.anyio


class _CountingStore(MemoryGalleryStore):
    """Rejects more hits than `most`, like a server in strict mode."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[int] = []
        self.most: int | None = None

    async def most_hits(self) -> int | None:
        return self.most

    async def search(self, embedding: Embedding, *, limit: int, **options: object) -> list[GalleryHit]:
        self.limits.append(limit)
        if self.most is not None and limit > self.most:
            raise StoreRefusalError(f"{limit} is more than the {self.most}", item="limit")
        return await super().search(embedding, limit=limit, **options)  # type: ignore[arg-type]


async def _gallery() -> _CountingStore:
    """Images at growing angles from the east, in the order of PLACES."""
    store = _CountingStore()
    await store.create(make_space(dimension=3))
    for step, (item_id, place) in enumerate(PLACES.items()):
        angle = 0.1 * (step + 1)
        payload = {} if place is None else {"at": {"place": place}}
        await store.upsert([make_point(item_id, unit([np.cos(angle), np.sin(angle), 0]), payload)])
    return store


def _finder(*, group_reach: int = 64) -> VectorSearch:
    return VectorSearch(expansion_alpha=3.0, group_reach=group_reach, default_limit=10)


async def _found(
    store: MemoryGalleryStore, options: HitOptions, finder: VectorSearch, excluded: str | None = None
) -> list[str]:
    return [hit.record.item_id for hit in await finder.find(store, EAST, options, excluded=excluded)]


async def test_only_the_nearest_image_of_a_group_is_a_hit_and_images_without_the_key_are_left_out() -> None:
    options = HitOptions(limit=3, group_by="at.place")
    assert await _found(await _gallery(), options, _finder()) == ["a1", "b1", "c1"]


async def test_more_images_are_searched_until_there_are_enough_groups() -> None:
    store = await _gallery()
    await store.upsert([make_point(f"near{i}", unit([1, 0.001 * i, 0]), {"at": {"place": "a"}}) for i in range(30)])
    assert await _found(store, HitOptions(limit=2, group_by="at.place"), _finder()) == ["near0", "b1"]
    assert store.limits == [8, 32, 64]


async def test_no_more_images_are_searched_than_the_reach() -> None:
    store = await _gallery()
    assert await _found(store, HitOptions(limit=3, group_by="at.place"), _finder(group_reach=2)) == ["a1"]
    assert store.limits == [2]


@pytest.mark.parametrize(("excluded", "found"), [(None, ["a1", "b1"]), ("a1", ["a2", "b1"])])
async def test_no_more_images_are_searched_than_the_store_allows(excluded: str | None, found: list[str]) -> None:
    store = await _gallery()
    store.most = 3
    options = HitOptions(limit=2, group_by="at.place")
    hits = await _finder().find(store, EAST, options, excluded=excluded)
    assert [hit.record.item_id for hit in hits] == found
    assert store.limits == [3]


async def test_more_groups_than_the_stores_limit_are_a_client_error() -> None:
    store = await _gallery()
    store.most = 2
    with pytest.raises(StoreRefusalError, match="3 is more than the 2"):
        await _found(store, HitOptions(limit=3, group_by="at.place"), _finder())


async def test_an_excluded_image_is_not_a_hit_and_does_not_reduce_the_hits() -> None:
    assert await _found(await _gallery(), HitOptions(limit=2), _finder(), excluded="a1") == ["a2", "b1"]
    options = HitOptions(limit=2, group_by="at.place")
    assert await _found(await _gallery(), options, _finder(), excluded="a1") == ["a2", "b1"]


async def test_an_expansion_searches_again_with_the_mean_of_query_and_hits() -> None:
    store = await _gallery()
    # In the direction of the first hit there is one more image, at a right angle to the plane of the others.
    await store.upsert([make_point("beyond", unit([np.cos(0.1), np.sin(0.1), 3.0]))])
    hits = await _finder().find(store, EAST, HitOptions(limit=9, expand=2))
    first, second = np.cos(0.1), np.cos(0.2)
    along = np.array([1, 0, 0]) + first**3 * np.array([np.cos(0.1), np.sin(0.1), 0])
    along += second**3 * np.array([np.cos(0.2), np.sin(0.2), 0])
    along /= np.linalg.norm(along)
    by_id = {hit.record.item_id: hit.score for hit in hits}
    assert by_id["a1"] == pytest.approx(float(along @ [np.cos(0.1), np.sin(0.1), 0]), abs=1e-6)
    assert store.limits == [2, 9]


async def test_an_expansion_leaves_the_excluded_image_out() -> None:
    store = await _gallery()
    with_it = await _finder().find(store, EAST, HitOptions(limit=1, expand=1), excluded="c1")
    without = await _finder().find(store, EAST, HitOptions(limit=1, expand=1), excluded="a1")
    assert with_it[0].record.item_id == "a1"
    assert without[0].record.item_id == "a2"
    assert without[0].score == pytest.approx(float(np.cos(0.1)), abs=0.002)  # between 0 and 0.2


def test_hits_that_point_away_do_not_pull_an_expansion() -> None:
    away = GalleryHit(make_point("away", unit([-1, 0, 0])).record, -1.0, unit([-1, 0, 0]))
    np.testing.assert_allclose(expanded(EAST, [away], alpha=3.0), EAST, atol=1e-7)
