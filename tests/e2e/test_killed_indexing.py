"""kill -9 at random moments of an indexing run: what was acknowledged is there, and in the end every image once.

`AFF_TEST_KILLS` sets how often; the moments follow from the seed.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aff_shared.store.gallery_catalogue import open_catalogue
from aff_shared.store.gallery_store import GalleryPoint
from aff_shared.store.settings import StoreSettings
from tests.support.index_photographs import SPACE, photograph

KILLS = int(os.environ.get("AFF_TEST_KILLS", "4"))
PHOTOGRAPHS_A_KILL = 60
LONGEST_PAUSE_S = 0.02
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.anyio


def _start(gallery: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.index_photographs", str(gallery), str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _index_until_killed(gallery: Path, count: int, receipts: int, pause_s: float) -> list[str]:
    """Return the ids that were acknowledged before the kill, which follows so many receipts after a pause."""
    with _start(gallery, count) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        read = [process.stdout.readline().removesuffix("\n") for _ in range(receipts)]
        time.sleep(pause_s)
        process.kill()
        *whole, _cut = process.stdout.read().split("\n")
    return read + whole


async def _points(gallery: Path) -> list[GalleryPoint]:
    catalogue = await open_catalogue(StoreSettings(url="", edge_path=gallery))
    try:
        page = await (await catalogue.collection(SPACE)).scroll(limit=100_000)
        return page.points
    finally:
        await catalogue.close()


@pytest.mark.timeout(60 + 5 * KILLS)
async def test_after_kills_at_random_moments_every_image_is_there_exactly_once(tmp_path: Path) -> None:
    gallery, count, rng = tmp_path / "gallery", PHOTOGRAPHS_A_KILL * KILLS, random.Random(11)
    acknowledged: set[str] = set()
    unfinished = 0
    for kill in range(KILLS):
        receipts, pause_s = (
            PHOTOGRAPHS_A_KILL * kill + rng.randrange(PHOTOGRAPHS_A_KILL),
            rng.uniform(0, LONGEST_PAUSE_S),
        )
        acknowledged.update(_index_until_killed(gallery, count, receipts, pause_s))
        stored = [point.record.item_id for point in await _points(gallery)]
        assert acknowledged <= set(stored)
        assert len(stored) == len(set(stored))
        unfinished += len(stored) < count
    with _start(gallery, count) as process:
        assert process.wait(timeout=60) == 0
    points = sorted(await _points(gallery), key=lambda point: point.record.item_id)
    assert [point.record.item_id for point in points] == [f"{number:04d}" for number in range(count)]
    for number, point in enumerate(points):
        assert point.record.content_sha256 == hashlib.sha256(photograph(number)).hexdigest()
    assert unfinished >= KILLS / 2, "the kills were too late to test anything"
    midst = f"{KILLS} kills, {unfinished} in the midst"
    print(f"{midst}; {len(acknowledged)} images acknowledged, {count} once each in the end")  # noqa: T201 - with -s
