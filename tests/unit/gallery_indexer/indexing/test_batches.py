from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from gallery_indexer.features.image_encoder import EncodedImage, EncoderInput
from gallery_indexer.indexing.batches import BatchEncoder, DynamicBatcher
from gallery_indexer.indexing.index_metrics import IndexMetrics
from tests.support.fake_gallery_encoder import FakeGalleryEncoder

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class _Doubler:
    """Doubles numbers while `free` is set, and fails on a batch that contains a 13."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.free = asyncio.Event()
        self.free.set()

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        await self.free.wait()
        if 13 in numbers:
            raise ValueError("thirteen")
        return [2 * number for number in numbers]


def _former(work: _Doubler, *, size: int = 4, wait_s: float = 60.0) -> DynamicBatcher[int, int]:
    return DynamicBatcher(work, size=lambda: size, wait_s=wait_s)


async def _submitted_later(former: DynamicBatcher[int, int], number: int, ready: asyncio.Event) -> int:
    with former.expecting():
        await ready.wait()
    return await former.submit(number)


async def test_every_caller_receives_the_result_of_its_item() -> None:
    work = _Doubler()
    former = _former(work)
    assert await asyncio.gather(*map(former.submit, range(10))) == [2 * number for number in range(10)]
    assert work.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_a_single_item_does_not_wait_if_no_other_is_expected() -> None:
    assert await asyncio.wait_for(_former(_Doubler()).submit(1), timeout=5) == 2


async def test_a_batch_waits_for_expected_items() -> None:
    work, ready = _Doubler(), asyncio.Event()
    former = _former(work)
    callers = [asyncio.create_task(_submitted_later(former, number, ready)) for number in (1, 2)]
    await asyncio.sleep(0)
    early = asyncio.create_task(former.submit(0))
    await asyncio.sleep(0.05)
    assert work.batches == []
    ready.set()
    await asyncio.gather(early, *callers)
    assert sorted(work.batches[0]) == [0, 1, 2]


async def test_a_batch_waits_no_longer_than_allowed() -> None:
    work, never = _Doubler(), asyncio.Event()
    former = _former(work, wait_s=0.05)
    caller = asyncio.create_task(_submitted_later(former, 1, never))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(former.submit(0), timeout=5) == 0
    assert work.batches == [[0]]
    caller.cancel()


async def test_a_batch_does_not_wait_for_items_that_are_no_longer_expected() -> None:
    former, never = _former(_Doubler()), asyncio.Event()
    caller = asyncio.create_task(_submitted_later(former, 1, never))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(former.submit(0))
    await asyncio.sleep(0.01)
    caller.cancel()
    assert await asyncio.wait_for(waiting, timeout=5) == 0


async def test_at_most_two_batches_are_in_progress_and_other_items_wait() -> None:
    work = _Doubler()
    former = _former(work, size=3)
    work.free.clear()
    callers = []
    for number in range(8):
        callers.append(asyncio.create_task(former.submit(number)))
        await asyncio.sleep(0.01)
    assert work.batches == [[0], [1]]
    work.free.set()
    await asyncio.gather(*callers)
    assert work.batches == [[0], [1], [2, 3, 4], [5, 6, 7]]


async def test_an_error_of_a_batch_is_raised_for_its_callers_only() -> None:
    former = _former(_Doubler(), size=2)
    results = await asyncio.gather(*map(former.submit, (12, 13, 14)), return_exceptions=True)
    assert [str(result) for result in results] == ["thirteen", "thirteen", "28"]


async def test_a_cancelled_item_is_not_processed() -> None:
    work = _Doubler()
    former = _former(work, size=1)
    work.free.clear()
    callers = [asyncio.create_task(former.submit(number)) for number in range(4)]
    await asyncio.sleep(0.01)
    callers[2].cancel()
    work.free.set()
    assert [await caller for caller in (callers[0], callers[1], callers[3])] == [0, 2, 6]
    assert [2] not in work.batches


POISON = (13, 13, 13)


def _images(count: int, *, poisoned: int | None = None) -> list[EncoderInput]:
    images = [np.full((2, 2, 3), (place + 100, 0, 0), dtype=np.uint8) for place in range(count)]
    if poisoned is not None:
        images[poisoned][:] = POISON
    return [(image,) for image in images]


def _red(encoded: EncodedImage | None) -> float:
    return -1.0 if encoded is None else float(encoded.embedding[0])


@pytest.mark.parametrize("poisoned", range(8))
def test_an_image_that_makes_the_encoder_raise_is_found_by_halving(poisoned: int) -> None:
    encoder = FakeGalleryEncoder(poison=POISON)
    encoded = BatchEncoder(encoder, IndexMetrics(CollectorRegistry()), batch_size=8).encode(
        _images(8, poisoned=poisoned)
    )
    assert [place for place, one in enumerate(encoded) if one is None] == [poisoned]
    good = [_red(one) for place, one in enumerate(encoded) if place != poisoned]
    assert good == sorted(good)  # each image is redder than the one before it: the order is kept
    assert sorted(encoder.batch_sizes) == [1, 1, 2, 2, 4, 4, 8]


def test_a_batch_that_does_not_fit_is_halved_and_no_image_is_lost() -> None:
    registry, encoder = CollectorRegistry(), FakeGalleryEncoder(fits=3)
    batches = BatchEncoder(encoder, IndexMetrics(registry), batch_size=16)
    reds = [_red(one) for one in batches.encode(_images(16))]
    assert reds == sorted(reds)
    assert -1.0 not in reds
    assert batches.size == 2
    assert encoder.batch_sizes == [2] * 8
    assert registry.get_sample_value("aff_index_out_of_memory_total") == 3  # of 16, of 8, of 4


def test_later_batches_have_the_size_that_fitted_until_many_succeeded() -> None:
    encoder = FakeGalleryEncoder(fits=4)
    batches = BatchEncoder(encoder, IndexMetrics(CollectorRegistry()), batch_size=8)
    batches.encode(_images(8))
    assert batches.size == 4
    encoder.batch_sizes.clear()
    batches.encode(_images(8))
    assert encoder.batch_sizes == [4, 4]
    encoder.fits = None
    for _ in range(64):
        batches.encode(_images(1))
    assert batches.size == 8


def test_an_image_that_does_not_fit_even_alone_fails() -> None:
    batches = BatchEncoder(FakeGalleryEncoder(fits=0), IndexMetrics(CollectorRegistry()), batch_size=4)
    assert batches.encode(_images(3)) == [None, None, None]
    assert batches.size == 1
