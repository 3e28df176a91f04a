from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pytest

from aff_contracts.errors import EmptyImageError, ImageError
from aff_contracts.image_decoding import ImageLimits
from aff_contracts.preprocessing import Preprocessing
from gallery_indexer.photograph_preparation import PhotographPreparation, PreparedPhotograph
from gallery_indexer.pixel_arena import PixelArena
from gallery_indexer.preparation_pool import PreparationPool
from gallery_indexer.thumbnail_maker import ThumbnailMaker
from tests.support.plain_photograph import plain_png

SMALL, HALF = Preprocessing(resize="stretch", size=32), Preprocessing(resize="longest_side", size=30)
PREPARATION = PhotographPreparation(ImageLimits(), (SMALL, HALF, SMALL), ThumbnailMaker(16, 75))
CRASHING = b"a file on which a decoder crashes"
RED = plain_png((255, 0, 0), width=60, height=40)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True, slots=True)
class _CrashingPreparation(PhotographPreparation):
    def __call__(self, data: bytes, name: str) -> PreparedPhotograph:
        if data == CRASHING:
            os.kill(os.getpid(), signal.SIGSEGV)
        return PREPARATION(data, name)


def _pool(preparation: PhotographPreparation, *, slots: int = 4, arena: bool = True) -> PreparationPool:
    return PreparationPool(preparation, 2, PixelArena(preparation.preprocessings, slots) if arena else None)


async def _prepared(pool: PreparationPool, data: bytes, name: str) -> PreparedPhotograph:
    async with pool.prepared(data, name) as prepared:
        return prepared


@pytest.fixture(params=["threads", "processes"])
def pool(request: pytest.FixtureRequest) -> Iterator[PreparationPool]:
    with closing(_pool(PREPARATION, arena=request.param == "processes")) as pool:
        yield pool


async def test_a_photograph_is_prepared_for_each_extractor(pool: PreparationPool) -> None:
    async with pool.prepared(RED, "red.png") as prepared:
        assert (prepared.width, prepared.height) == (60, 40)
        small, half, again = prepared.image
        assert (small.shape, half.shape) == ((32, 32, 3), (20, 30, 3))
        assert small is again
        assert np.all(small == (255, 0, 0))
        assert np.all(half == (255, 0, 0))
    assert prepared.thumbnail is not None
    assert prepared.thumbnail[8:12] == b"WEBP"
    assert prepared.decode_s > 0
    assert prepared.prepare_s > 0


async def test_an_error_names_the_image(pool: PreparationPool) -> None:
    with pytest.raises(EmptyImageError) as raised:
        await _prepared(pool, b"", "empty.png")
    assert raised.value.item == "empty.png"


async def test_an_image_on_which_a_decoder_crashes_is_the_only_one_that_fails() -> None:
    preparation = _CrashingPreparation(ImageLimits(), PREPARATION.preprocessings)
    images = [RED, CRASHING, RED, RED, RED]
    with closing(_pool(preparation)) as pool:
        results = await asyncio.gather(
            *(_prepared(pool, data, str(number)) for number, data in enumerate(images)), return_exceptions=True
        )
        crashed = results.pop(1)
        assert isinstance(crashed, ImageError)
        assert crashed.item == "1"
        assert [type(result) for result in results] == [PreparedPhotograph] * 4, results
        assert isinstance(await _prepared(pool, RED, "afterwards"), PreparedPhotograph)


async def test_an_image_waits_for_a_slot_and_never_takes_one_that_is_written_to() -> None:
    colours = [(value, 255 - value, value // 2) for value in range(0, 250, 10)]
    with closing(_pool(PREPARATION, slots=3)) as pool:

        async def prepared_right(colour: tuple[int, int, int]) -> bool:
            async with pool.prepared(plain_png(colour), "plain.png") as prepared:
                await asyncio.sleep(0.005)
                return bool(np.all(prepared.image[0] == colour))

        given_up = [asyncio.create_task(prepared_right(colour)) for colour in colours]
        await asyncio.sleep(0.002)
        for task in given_up:
            task.cancel()
        assert all(await asyncio.wait_for(asyncio.gather(*map(prepared_right, colours)), timeout=30))


_HOLDER = """
import asyncio, os
from tests.unit.gallery_indexer.test_preparation_pool import PREPARATION, RED, _pool, _prepared
pool = _pool(PREPARATION)
asyncio.run(_prepared(pool, RED, "red"))
print(*pool._pool._processes, flush=True)
os.kill(os.getpid(), 9)
"""


def test_the_processes_end_with_the_service_however_that_ends() -> None:
    killed = subprocess.run([sys.executable, "-c", _HOLDER], stdout=subprocess.PIPE, check=False)
    assert killed.returncode == -signal.SIGKILL
    processes = list(map(int, killed.stdout.split()))
    assert processes
    deadline = time.monotonic() + 20
    while any(map(_runs, processes)):
        assert time.monotonic() < deadline, "the workers outlived their service"
        time.sleep(0.05)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
