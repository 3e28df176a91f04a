from __future__ import annotations

import asyncio

import pytest

from aff_shared.errors import ServiceOverloadedError
from aff_shared.images.decoding import ImageLimits
from aff_shared.images.size import PixelBudget
from tests.support.images import bomb_png, png_bytes

pytestmark = pytest.mark.anyio

LARGE, ORDINARY = bomb_png(100, 100), png_bytes()
LIMITS = ImageLimits(large_pixels=64 * 48)


async def _held(budget: PixelBudget, image: bytes, until: asyncio.Event, done: list[bytes]) -> None:
    async with budget.holding([image]):
        await until.wait()
        done.append(image)


async def _moment() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_large_images_wait_for_each_other_and_ordinary_ones_pass() -> None:
    budget, first, others, done = PixelBudget(15_000, LIMITS), asyncio.Event(), asyncio.Event(), list[bytes]()
    others.set()
    waiting = [asyncio.create_task(_held(budget, LARGE, event, done)) for event in (first, others)]
    await _moment()
    await asyncio.wait_for(_held(budget, ORDINARY, others, done), 1)
    assert done == [ORDINARY]
    first.set()
    await asyncio.gather(*waiting)
    assert done == [ORDINARY, LARGE, LARGE]


async def test_as_many_large_images_as_the_budget_holds_are_decoded_at_a_time() -> None:
    budget = PixelBudget(20_000, LIMITS, max_waiting=0)
    async with budget.holding([LARGE]), budget.holding([ORDINARY, LARGE]):
        with pytest.raises(ServiceOverloadedError, match="20000 pixels of large images"):
            await budget.holding([LARGE]).__aenter__()
    async with budget.holding([LARGE]):
        pass


async def test_one_that_is_larger_than_the_budget_is_taken_alone() -> None:
    async with PixelBudget(1, LIMITS, max_waiting=0).holding([LARGE]):
        pass


async def test_a_wait_that_is_too_long_ends_with_a_retry_after() -> None:
    budget = PixelBudget(1, LIMITS, max_wait_s=0.01)
    async with budget.holding([LARGE]):
        with pytest.raises(ServiceOverloadedError, match=r"0\.01 s") as caught:
            await budget.holding([LARGE]).__aenter__()
    assert int(caught.value.headers["Retry-After"]) > 0


async def test_a_cancelled_wait_passes_its_turn_to_the_next() -> None:
    budget, first, done = PixelBudget(1, LIMITS), asyncio.Event(), list[bytes]()
    holding, gives_up, comes_after = [asyncio.create_task(_held(budget, LARGE, first, done)) for _ in range(3)]
    await _moment()
    gives_up.cancel()
    first.set()
    await asyncio.gather(holding, comes_after)
    assert done == [LARGE, LARGE]
