from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aff_shared.errors import DecoderFailedError, EmptyImageError, WorkerError
from aff_shared.images.decoding import DecodedImage, ImageLimits, decode_image
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.indexing import photograph_preparation
from gallery_indexer.indexing.decode_pool import DecodePool
from gallery_indexer.indexing.photograph_preparation import PhotographPreparation, PreparedPhotograph, ThumbnailMaker
from gallery_indexer.workers.shared_pixel_buffer import PixelReference, SharedPixelBuffer
from tests.support.plain_photograph import plain_png
from tests.support.stopped_decoder import DEADLY, ENDLESS, stopped_decoder

SMALL, HALF = Preprocessing(resize="stretch", size=32), Preprocessing(resize="longest_side", size=30)
PREPARATION = PhotographPreparation(ImageLimits(), (SMALL, HALF, SMALL), ThumbnailMaker(16, 75))
RED = plain_png((255, 0, 0), width=60, height=40)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _pool(*, slots: int = 4, buffer: bool = True, timeout_s: float = 60.0) -> DecodePool:
    return DecodePool(
        PREPARATION, 2, SharedPixelBuffer(PREPARATION.preprocessings, slots) if buffer else None, timeout_s
    )


async def _prepared(pool: DecodePool, data: bytes, name: str) -> PreparedPhotograph:
    async with pool.prepared(data, name) as prepared:
        return prepared


@pytest.fixture(params=["threads", "processes"])
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[DecodePool]:
    with closing(_pool(buffer=request.param == "processes")) as pool:
        yield pool


async def test_a_photograph_is_prepared_for_each_extractor(pool: DecodePool) -> None:
    async with pool.prepared(RED, "red.png") as prepared:
        assert (prepared.width, prepared.height) == (60, 40)
        small, half, again = prepared.pixels
        assert (small.shape, half.shape) == ((32, 32, 3), (20, 30, 3))
        assert small is again
        assert np.all(small == (255, 0, 0))
        assert np.all(half == (255, 0, 0))
    assert prepared.thumbnail is not None
    assert prepared.thumbnail[8:12] == b"WEBP"
    assert prepared.decode_s > 0
    assert prepared.prepare_s > 0


async def test_an_error_names_the_image(pool: DecodePool) -> None:
    with pytest.raises(EmptyImageError) as raised:
        await _prepared(pool, b"", "empty.png")
    assert raised.value.item == "empty.png"


@pytest.mark.slow
@pytest.mark.parametrize(("data", "timeout_s"), [(DEADLY, 60.0), (ENDLESS, 5.0)])
async def test_an_image_that_stops_its_decoder_is_the_only_one_that_fails(
    data: bytes, timeout_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(stopped_decoder("gallery_indexer.indexing.photograph_preparation"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with closing(_pool(timeout_s=timeout_s)) as pool:
        images = [RED, data, RED, RED, RED]
        results = await asyncio.gather(
            *(_prepared(pool, image, str(number)) for number, image in enumerate(images)), return_exceptions=True
        )
        stopped = results.pop(1)
        assert isinstance(stopped, DecoderFailedError)
        assert stopped.item == "1"
        assert [type(result) for result in results] == [PreparedPhotograph] * 4, results
        assert isinstance(await _prepared(pool, RED, "afterwards"), PreparedPhotograph)


async def test_a_photograph_is_not_rejected_if_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with closing(_pool()) as pool, pytest.raises(WorkerError, match="cannot be started"):
        await _prepared(pool, RED, "red.png")


@pytest.mark.parametrize(
    "reference",
    [
        PixelReference(4, ((32, 32), (20, 30), (32, 32))),
        PixelReference(-1, ((32, 32), (20, 30), (32, 32))),
        PixelReference(0, ((32, 33), (20, 30), (32, 32))),
        PixelReference(0, ((32, 32), (0, 30), (32, 32))),
        PixelReference(0, ((32, 32), (20, 30))),
    ],
)
def test_a_place_outside_of_its_slot_is_rejected(reference: PixelReference) -> None:
    with pytest.raises(WorkerError, match="does not have the sizes"):
        SharedPixelBuffer(PREPARATION.preprocessings, 4).image(reference)


async def test_a_cancelled_caller_waits_until_its_image_is_no_longer_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, go_on = threading.Barrier(3), threading.Event()

    def decode_slowly(*args: Any, **kwargs: Any) -> DecodedImage:
        started.wait(20)
        go_on.wait(20)
        return decode_image(*args, **kwargs)

    monkeypatch.setattr(photograph_preparation, "decode_image", decode_slowly)
    with closing(_pool(buffer=False)) as pool:  # of two threads
        *decoded, waiting = [asyncio.create_task(_prepared(pool, RED, str(number))) for number in range(3)]
        await asyncio.to_thread(started.wait, 20)
        for task in (*decoded, waiting):
            task.cancel()
        assert await asyncio.wait([*decoded, waiting], timeout=0.1) == ({waiting}, set(decoded))
        go_on.set()
        await asyncio.wait(decoded)
        assert all(task.cancelled() for task in (*decoded, waiting))


async def test_an_image_waits_for_a_slot_and_never_takes_one_that_is_written_to() -> None:
    colours = [(value, 255 - value, value // 2) for value in range(0, 250, 10)]
    with closing(_pool(slots=3)) as pool:

        async def prepared_right(colour: tuple[int, int, int]) -> bool:
            async with pool.prepared(plain_png(colour), "plain.png") as prepared:
                await asyncio.sleep(0.005)
                return bool(np.all(prepared.pixels[0] == colour))

        cancelled = [asyncio.create_task(prepared_right(colour)) for colour in colours]
        await asyncio.sleep(0.002)
        for task in cancelled:
            task.cancel()
        assert all(await asyncio.wait_for(asyncio.gather(*map(prepared_right, colours)), timeout=30))
