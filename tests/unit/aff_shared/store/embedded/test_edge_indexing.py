from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aff_shared.errors import StoreError
from aff_shared.store.embedded.edge_indexing import index_in_child, indexing_pays


@pytest.mark.parametrize(
    ("points", "indexed", "pays"),
    [
        (0, 0, False),
        (200, 0, False),  # 200 * 128 * 4 bytes are the threshold exactly
        (201, 0, True),
        (10_000, 10_000, False),
        (10_000, 8_001, False),  # more than the threshold, but less than a fifth
        (10_000, 8_000, True),
    ],
)
def test_indexing_pays_above_the_threshold_and_after_a_fifth_of_growth(points: int, indexed: int, pays: bool) -> None:
    assert indexing_pays(points=points, indexed=indexed, dead=0, dimension=128, threshold_kb=100) is pays


@pytest.mark.parametrize(("dead", "pays"), [(999, False), (1_000, True)])
def test_a_small_gallery_is_written_anew_after_a_thousand_deletions(dead: int, pays: bool) -> None:
    assert indexing_pays(points=10, indexed=0, dead=dead, dimension=128, threshold_kb=100) is pays


@pytest.mark.parametrize(("dead", "pays"), [(4_999, False), (5_000, True)])
def test_a_gallery_is_written_anew_when_half_as_many_were_deleted_as_it_holds(dead: int, pays: bool) -> None:
    assert indexing_pays(points=10_000, indexed=10_000, dead=dead, dimension=128, threshold_kb=100) is pays


@pytest.mark.anyio
async def test_a_child_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"(?s)indexing ended with status 1.*does not exist"):
        await index_in_child(tmp_path / "nothing")


@pytest.mark.anyio
async def test_cancelling_ends_the_child(tmp_path: Path) -> None:
    task = asyncio.create_task(index_in_child(tmp_path / "nothing"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
