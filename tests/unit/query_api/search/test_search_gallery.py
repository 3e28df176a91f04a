from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from aff_shared.errors import (
    EmbeddingsCancelError,
    EmbeddingSpaceMismatchError,
    EncoderError,
    GalleryMissingError,
    ServiceOverloadedError,
    TruncatedImageError,
)
from aff_shared.schemas.searching import HitOptions
from query_api.embedding.photograph_embedder import Photograph
from query_api.search.search_gallery import SearchGallery
from query_api.search.search_queue import SearchMetrics, SearchQueue
from query_api.search.vector_search import VectorSearch
from tests.support.fake_gallery_encoder import FakeGalleryEncoder
from tests.support.fixed_active_model import fixed_active_model
from tests.support.gallery_points import make_point, make_space, unit
from tests.support.local_embedder import LocalEmbedder
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.plain_photograph import plain_png

SPACE = make_space(dimension=4)
RED = plain_png((255, 0, 0))

pytestmark = pytest.mark.anyio


class _FailingEncoder(FakeGalleryEncoder):
    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:  # noqa: ARG002 - the Protocol's
        raise EncoderError("the session failed")


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in other threads
            await asyncio.sleep(0.001)


async def _gallery() -> MemoryGalleryStore:
    store = MemoryGalleryStore()
    await store.create(SPACE)
    await store.upsert([make_point("red", unit([1, 0, 0, 1])), make_point("blue", unit([0, 0, 1, 1]))])
    return store


def _search_gallery(
    store: MemoryGalleryStore,
    encoder: FakeGalleryEncoder,
    *,
    active: int = 8,
    waiting: int = 8,
) -> SearchGallery:
    metrics = SearchMetrics(CollectorRegistry())
    return SearchGallery(
        fixed_active_model(MemoryGalleryCatalogue(store), SPACE, encoder, interval_s=0),
        LocalEmbedder(),
        VectorSearch(expansion_alpha=3.0, group_reach=64, default_limit=10),
        SearchQueue(active, waiting, max_wait_s=0.2, metrics=metrics),
        metrics,
    )


async def test_hits_are_sorted_by_descending_cosine_similarity() -> None:
    response = await _search_gallery(await _gallery(), FakeGalleryEncoder()).search(
        [Photograph(RED, "red.png")], HitOptions(limit=5)
    )
    assert [hit.id for hit in response.hits] == ["red", "blue"]
    # (1, 0, 0, 1) and (0, 0, 1, 1), both of length sqrt(2), have the inner product 1
    assert [hit.score for hit in response.hits] == pytest.approx([1.0, 0.5], abs=1e-6)
    assert response.fingerprint == "f" * 64


async def test_the_event_loop_is_free_while_a_photograph_is_encoded() -> None:
    encoder = FakeGalleryEncoder()
    encoder.gate.clear()
    search = asyncio.create_task(
        _search_gallery(await _gallery(), encoder).search([Photograph(RED, "red.png")], HitOptions(limit=5))
    )
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert not search.done()
    encoder.gate.set()
    assert len((await search).hits) == 2


async def test_a_photograph_that_cannot_be_decoded_is_named() -> None:
    search_gallery = _search_gallery(await _gallery(), FakeGalleryEncoder())
    with pytest.raises(TruncatedImageError) as caught:
        await search_gallery.search([Photograph(RED[:50], "half.png")], HitOptions(limit=1))
    assert caught.value.item == "half.png"


async def test_a_photograph_that_cannot_be_encoded_is_named() -> None:
    search_gallery = _search_gallery(await _gallery(), _FailingEncoder())
    with pytest.raises(EncoderError) as caught:
        await search_gallery.search([Photograph(RED, "odd.png")], HitOptions(limit=1))
    assert caught.value.item == "odd.png"


class _OppositeEncoder(FakeGalleryEncoder):
    """Returns an embedding and its opposite in turn."""

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return super().encode(images) * np.array([[1 - 2 * (n % 2)] for n in range(len(images))], dtype=np.float32)


async def test_photographs_that_cancel_each_other_are_named_as_the_fault_of_the_request() -> None:
    search_gallery = _search_gallery(await _gallery(), _OppositeEncoder())
    with pytest.raises(EmbeddingsCancelError) as caught:
        await search_gallery.search([Photograph(RED, "a.png"), Photograph(RED, "b.png")], HitOptions(limit=1))
    assert (caught.value.status, caught.value.item) == (422, "a.png, b.png")


async def test_a_gallery_of_another_space_is_not_searched_and_nothing_is_encoded_for_it() -> None:
    store, encoder = MemoryGalleryStore(), FakeGalleryEncoder()
    await store.create(make_space("another", dimension=4))
    with pytest.raises(EmbeddingSpaceMismatchError):
        await _search_gallery(store, encoder).search([Photograph(RED, "red.png")], HitOptions(limit=1))
    assert encoder.batch_sizes == []


async def test_a_missing_gallery_is_reported() -> None:
    with pytest.raises(GalleryMissingError):
        await _search_gallery(MemoryGalleryStore(), FakeGalleryEncoder()).search(
            [Photograph(RED, "red.png")], HitOptions(limit=1)
        )


async def test_a_search_over_the_queue_limit_is_rejected_immediately_and_the_others_are_answered() -> None:
    encoder = FakeGalleryEncoder()
    encoder.gate.clear()
    search_gallery = _search_gallery(await _gallery(), encoder, active=1, waiting=1)
    first = asyncio.create_task(search_gallery.search([Photograph(RED, "red.png")], HitOptions(limit=1)))
    await _until(encoder.called.is_set)
    second = asyncio.create_task(search_gallery.search([Photograph(RED, "red.png")], HitOptions(limit=1)))
    await asyncio.sleep(0)
    with pytest.raises(ServiceOverloadedError) as caught:
        await search_gallery.search([Photograph(RED, "red.png")], HitOptions(limit=1))
    assert caught.value.headers == {"Retry-After": "1"}
    encoder.gate.set()
    assert [response.hits[0].id for response in await asyncio.gather(first, second)] == ["red", "red"]


async def test_no_search_waits_longer_than_the_limit() -> None:
    encoder = FakeGalleryEncoder()
    encoder.gate.clear()
    search_gallery = _search_gallery(await _gallery(), encoder, active=1)
    first = asyncio.create_task(search_gallery.search([Photograph(RED, "red.png")], HitOptions(limit=1)))
    await _until(encoder.called.is_set)
    with pytest.raises(ServiceOverloadedError, match=r"longer than 0\.2 s"):
        await search_gallery.search([Photograph(RED, "red.png")], HitOptions(limit=1))
    encoder.gate.set()
    await first
    assert (await search_gallery.search([Photograph(RED, "red.png")], HitOptions(limit=1))).hits
