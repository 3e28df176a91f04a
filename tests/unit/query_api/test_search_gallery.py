from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from aff_contracts.errors import EmbeddingSpaceMismatchError, EncoderError, GalleryMissingError, TruncatedImageError
from aff_contracts.image_decoding import ImageLimits
from query_api.search_gallery import Query, SearchGallery
from query_api.search_metrics import SearchMetrics
from tests.support.fake_gallery_encoder import FakeGalleryEncoder
from tests.support.fixed_live_gallery import fixed_live_gallery
from tests.support.gallery_points import make_point, make_space, unit
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.plain_photograph import plain_png

SPACE = make_space(dimension=4)
RED = plain_png((255, 0, 0))

pytestmark = pytest.mark.anyio


class _FailingEncoder(FakeGalleryEncoder):
    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:  # noqa: ARG002 - the Protocol's
        raise EncoderError("the session failed")


class _CrowdedEncoder(FakeGalleryEncoder):
    """Notes how many calls run at the same time, at most."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._inside = 0
        self.most_inside = 0

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        with self._lock:
            self._inside += 1
            self.most_inside = max(self.most_inside, self._inside)
        try:
            return super().encode(images)
        finally:
            with self._lock:
                self._inside -= 1


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in other threads
            await asyncio.sleep(0.001)


async def _gallery() -> MemoryGalleryStore:
    store = MemoryGalleryStore()
    await store.create(SPACE)
    await store.upsert([make_point("red", unit([1, 0, 0, 1])), make_point("blue", unit([0, 0, 1, 1]))])
    return store


def _search_gallery(store: MemoryGalleryStore, encoder: FakeGalleryEncoder, *, threads: int = 2) -> SearchGallery:
    gallery = fixed_live_gallery(MemoryGalleryCatalogue(store), SPACE, encoder, interval_s=0)
    return SearchGallery(gallery, ImageLimits(), SearchMetrics(CollectorRegistry()), threads=threads)


async def test_hits_stand_by_falling_cosine_similarity() -> None:
    response = await _search_gallery(await _gallery(), FakeGalleryEncoder()).search(Query(RED, "red.png", limit=5))
    assert [hit.id for hit in response.hits] == ["red", "blue"]
    # (1, 0, 0, 1) and (0, 0, 1, 1), both of length sqrt(2), have the inner product 1
    assert [hit.score for hit in response.hits] == pytest.approx([1.0, 0.5], abs=1e-6)
    assert response.fingerprint == "f" * 64


async def test_the_event_loop_is_free_while_a_photograph_is_encoded() -> None:
    encoder = FakeGalleryEncoder()
    encoder.gate.clear()
    search = asyncio.create_task(_search_gallery(await _gallery(), encoder).search(Query(RED, "red.png", limit=5)))
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert not search.done()
    encoder.gate.set()
    assert len((await search).hits) == 2


async def test_no_more_photographs_are_encoded_at_once_than_there_are_threads() -> None:
    encoder = _CrowdedEncoder()
    encoder.gate.clear()
    search_gallery = _search_gallery(await _gallery(), encoder, threads=2)
    searches = [asyncio.create_task(search_gallery.search(Query(RED, "red.png", limit=1))) for _ in range(6)]
    await _until(lambda: encoder.most_inside == 2)
    await asyncio.sleep(0.05)  # a third one would have come in
    encoder.gate.set()
    assert len(await asyncio.gather(*searches)) == 6
    assert encoder.most_inside == 2


async def test_a_photograph_that_cannot_be_decoded_is_named() -> None:
    search_gallery = _search_gallery(await _gallery(), FakeGalleryEncoder())
    with pytest.raises(TruncatedImageError) as caught:
        await search_gallery.search(Query(RED[:50], "half.png", limit=1))
    assert caught.value.item == "half.png"


async def test_a_photograph_that_cannot_be_encoded_is_named() -> None:
    search_gallery = _search_gallery(await _gallery(), _FailingEncoder())
    with pytest.raises(EncoderError) as caught:
        await search_gallery.search(Query(RED, "odd.png", limit=1))
    assert caught.value.item == "odd.png"


async def test_a_gallery_of_another_space_is_not_searched_and_nothing_is_encoded_for_it() -> None:
    store, encoder = MemoryGalleryStore(), FakeGalleryEncoder()
    await store.create(make_space("another", dimension=4))
    with pytest.raises(EmbeddingSpaceMismatchError):
        await _search_gallery(store, encoder).search(Query(RED, "red.png", limit=1))
    assert encoder.batch_sizes == []


async def test_a_gallery_that_is_missing_is_said_to_be() -> None:
    with pytest.raises(GalleryMissingError):
        await _search_gallery(MemoryGalleryStore(), FakeGalleryEncoder()).search(Query(RED, "red.png", limit=1))


async def test_closing_waits_for_no_search_that_has_not_begun() -> None:
    encoder = _CrowdedEncoder()
    encoder.gate.clear()
    search_gallery = _search_gallery(await _gallery(), encoder, threads=1)
    searches = [asyncio.create_task(search_gallery.search(Query(RED, "red.png", limit=1))) for _ in range(3)]
    await _until(lambda: encoder.most_inside == 1)
    closing = asyncio.create_task(asyncio.to_thread(search_gallery.close))
    await _until(searches[-1].done)
    encoder.gate.set()
    await closing
    outcomes = await asyncio.gather(*searches, return_exceptions=True)
    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [False, True, True]
