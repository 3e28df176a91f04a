from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from aff_shared.schemas.gallery import CollectionComparison, GalleryJob
from aff_shared.store.gallery_store import GalleryPage
from aff_shared.store.layout import point_id
from gallery_indexer.collections import compare_collections as module
from gallery_indexer.collections.compare_collections import compare_collections
from gallery_indexer.collections.gallery_jobs import JobProgress
from tests.support.gallery_points import make_point, make_space, unit
from tests.support.memory_gallery_store import MemoryGalleryStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def _store(item_ids: Sequence[str]) -> MemoryGalleryStore:
    store = MemoryGalleryStore()
    await store.create(make_space())
    await store.upsert([make_point(item_id, unit([1, 0, 0, 0, 0, 0, 0, 0])) for item_id in item_ids])
    return store


def _progress() -> JobProgress:
    return JobProgress(GalleryJob(id="j", kind="verify", item="s", started_at=datetime.now(UTC)))


async def _compared(live: MemoryGalleryStore, other: MemoryGalleryStore) -> CollectionComparison:
    return await compare_collections(live, other, samples=1, neighbours=1, progress=_progress())


@pytest.mark.parametrize("page", [1, 3, 1000])
@pytest.mark.parametrize(
    ("live", "other"),
    [
        ("", ""),
        ("abcdefg", ""),
        ("", "abcdefg"),
        ("abcdefg", "abcdefg"),
        ("abcdefg", "bdfhij"),
        ("abc", "xyz"),
    ],
)
async def test_missing_images_of_either_collection_are_listed(
    live: str, other: str, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", page)
    found = await _compared(await _store(live), await _store(other))
    assert set(found.missing_ids) == set(live) - set(other)
    assert set(found.surplus_ids) == set(other) - set(live)
    assert (found.missing, found.surplus) == (len(found.missing_ids), len(found.surplus_ids))


async def test_an_image_with_another_normalisation_of_its_id_is_not_missing() -> None:
    composed, decomposed = "caf\u00e9.jpg", "cafe\u0301.jpg"
    found = await _compared(await _store([decomposed, "a"]), await _store([composed, "b"]))
    assert (found.missing_ids, found.surplus_ids) == (["a"], ["b"])


class _Large(MemoryGalleryStore):
    """Has 20,000 images with long ids, which are generated when they are read."""

    async def scroll(self, *, limit: int, cursor: str | None = None, **_: object) -> GalleryPage:
        start = int(cursor or 0)
        points = [make_point(f"{number:0400}", unit([1])) for number in range(start, min(start + limit, 20_000))]
        points.sort(key=lambda point: point_id(point.record.item_id))
        return GalleryPage(points, str(start + limit) if start + limit < 20_000 else None)


@pytest.mark.slow
async def test_a_comparison_with_an_empty_collection_has_one_page_in_memory() -> None:
    live = _Large()
    await live.create(make_space())
    tracemalloc.start()
    missing, _ = await module._differences(live, await _store(""), _progress())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (missing.count, len(missing.named)) == (20_000, 20)
    assert peak < 6_000_000, "20,000 ids of 400 characters take 9 MB"


async def test_progress_counts_the_images_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 2)
    progress = _progress()
    await compare_collections(await _store("abc"), await _store("bcdef"), samples=1, neighbours=1, progress=progress)
    assert progress.job.done == 8
