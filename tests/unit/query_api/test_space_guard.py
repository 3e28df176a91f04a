from __future__ import annotations

from types import SimpleNamespace

import pytest

from aff_contracts.errors import EmbeddingSpaceMismatchError, GalleryMissingError, StoreUnavailableError
from query_api import space_guard
from query_api.space_guard import SpaceGuard
from tests.support.detachable_gallery_store import DetachableGalleryStore
from tests.support.gallery_points import make_space

INTERVAL_S = 2.0

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The guard's clock, in seconds: it stands still until the test moves it."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(space_guard, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def store() -> DetachableGalleryStore:
    return DetachableGalleryStore()


@pytest.fixture
def guard(store: DetachableGalleryStore) -> SpaceGuard:
    return SpaceGuard(store, make_space(), INTERVAL_S)


async def test_a_good_answer_is_trusted_for_the_interval_and_no_longer(
    clock: SimpleNamespace, store: DetachableGalleryStore, guard: SpaceGuard
) -> None:
    await store.create(make_space())
    reads = []
    for clock.now in (0.0, 1.0, 1.9, 2.0, 3.9, 4.0):
        await guard.require_same_space()
        reads.append(store.space_reads)
    assert reads == [1, 1, 1, 2, 2, 3]


async def test_without_an_interval_every_request_asks(clock: SimpleNamespace, store: DetachableGalleryStore) -> None:
    await store.create(make_space())
    guard = SpaceGuard(store, make_space(), interval_s=0)
    for _ in range(3):
        await guard.require_same_space()
    assert store.space_reads == 3


async def test_a_gallery_that_appears_is_noticed_at_once(
    clock: SimpleNamespace, store: DetachableGalleryStore, guard: SpaceGuard
) -> None:
    for _ in range(2):
        with pytest.raises(GalleryMissingError):
            await guard.require_same_space()
    await store.create(make_space())
    await guard.require_same_space()
    assert store.space_reads == 3


async def test_a_store_that_comes_back_is_noticed_at_once(
    clock: SimpleNamespace, store: DetachableGalleryStore, guard: SpaceGuard
) -> None:
    await store.create(make_space())
    store.away = True
    with pytest.raises(StoreUnavailableError):
        await guard.require_same_space()
    store.away = False
    await guard.require_same_space()


async def test_a_store_that_goes_away_is_noticed_after_the_interval(
    clock: SimpleNamespace, store: DetachableGalleryStore, guard: SpaceGuard
) -> None:
    await store.create(make_space())
    await guard.require_same_space()
    store.away = True
    clock.now = 1.9
    await guard.require_same_space()
    clock.now = 2.0
    with pytest.raises(StoreUnavailableError):
        await guard.require_same_space()


async def test_a_gallery_of_another_space_is_refused_every_time_in_words_that_name_both_sides(
    clock: SimpleNamespace, store: DetachableGalleryStore, guard: SpaceGuard
) -> None:
    await store.create(make_space("another space"))
    for _ in range(2):
        with pytest.raises(EmbeddingSpaceMismatchError, match=r"the query encoder has .*, the gallery has "):
            await guard.require_same_space()
    assert store.space_reads == 2
