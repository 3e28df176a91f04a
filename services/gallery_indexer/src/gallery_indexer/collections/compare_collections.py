"""Compares a collection with the live one before a switch: their images, and the hits of searches."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aff_shared.schemas.gallery import CollectionComparison, VerifyRequest
from aff_shared.schemas.item_id import canonical_id, other_spellings
from aff_shared.store.gallery_catalogue import GalleryCatalogue, find_collection, live_one
from aff_shared.store.gallery_store import GalleryPoint, GalleryStore
from aff_shared.store.layout import point_id
from gallery_indexer.collections.gallery_jobs import JobProgress, Work

_PAGE = 1000
_NAMED_IDS = 20


async def prepare_comparison(catalogue: GalleryCatalogue, request: VerifyRequest) -> Work:
    """Return the job that compares a collection with the live one.

    Raises:
        CollectionNotFoundError: There is no such collection.
        StoreError: The store failed.
    """
    collections = await catalogue.collections()
    live = await catalogue.collection(live_one(collections).space)
    other = await catalogue.collection(find_collection(collections, request.space).space)

    async def compare(progress: JobProgress) -> None:
        progress.expect(await live.count() + await other.count())
        found = await compare_collections(
            live, other, samples=request.samples, neighbours=request.neighbours, progress=progress
        )
        progress.note(found)

    return compare


async def compare_collections(
    live: GalleryStore, other: GalleryStore, *, samples: int, neighbours: int, progress: JobProgress
) -> CollectionComparison:
    """Compare two collections of one gallery.

    Each is read once, in the same order, with one page of either in memory. For randomly drawn images of the live
    collection, the nearest neighbours in both are compared.

    Args:
        live: The live collection.
        other: The collection to compare with it.
        samples: Largest number of images to search with.
        neighbours: Number of hits per search, without the image itself.
        progress: Counts the images that were read.

    Raises:
        StoreError: A store failed.
    """
    missing, surplus = await _differences(live, other, progress)
    found_live, found_other, shared = [], [], []
    async for point in _sample(live, samples):
        in_other = (await other.fetch([point.record.item_id])).get(point.record.item_id)
        if in_other is None:
            continue
        first, second = await _hits(live, point, neighbours), await _hits(other, in_other, neighbours)
        itself = canonical_id(point.record.item_id)
        found_live.append(first[0] == itself)
        found_other.append(second[0] == itself)
        shared.append(len(set(first[1:]) & set(second[1:])) / max(1, len(first) - 1))
    return CollectionComparison(
        live_count=await live.count(),
        count=await other.count(),
        missing=missing.count,
        missing_ids=missing.named,
        surplus=surplus.count,
        surplus_ids=surplus.named,
        samples=len(shared),
        live_self_recall=_mean(found_live),
        self_recall=_mean(found_other),
        shared_neighbours=_mean(shared),
    )


@dataclass(slots=True)
class _Lacking:
    """Images of another collection that this one lacks."""

    store: GalleryStore
    count: int = 0
    named: list[str] = field(default_factory=list)

    async def note(self, item_id: str) -> None:
        """Count a missing image, unless the collection has it with another normalisation of its id."""
        if other_spellings(item_id) and await self.store.fetch([item_id]):
            return
        self.count += 1
        if len(self.named) < _NAMED_IDS:
            self.named.append(canonical_id(item_id))


async def _differences(live: GalleryStore, other: GalleryStore, progress: JobProgress) -> tuple[_Lacking, _Lacking]:
    """Return the images that `other` lacks, and those that `live` lacks."""
    missing, surplus = _Lacking(other), _Lacking(live)
    in_live, in_other = _points(live, progress), _points(other, progress)
    one, two = await anext(in_live, None), await anext(in_other, None)
    while one is not None or two is not None:
        if one == two:
            one, two = await anext(in_live, None), await anext(in_other, None)
        elif two is None or (one is not None and one < two):
            assert one is not None, "one of the two is left"
            await missing.note(one[1])
            one = await anext(in_live, None)
        else:
            await surplus.note(two[1])
            two = await anext(in_other, None)
    return missing, surplus


async def _points(store: GalleryStore, progress: JobProgress) -> AsyncIterator[tuple[str, str]]:
    """Yield point ids with item ids, in the order of the point ids."""
    cursor: str | None = None
    while True:
        page = await store.scroll(limit=_PAGE, cursor=cursor)
        for point in page.points:
            yield point_id(point.record.item_id), point.record.item_id
        progress.advance(len(page.points))
        cursor = page.cursor
        if cursor is None:
            return


async def _sample(store: GalleryStore, samples: int) -> AsyncIterator[GalleryPoint]:
    """Draw random images without repetition: those after random positions in the order of point ids (hashes)."""
    drawn: set[str] = set()
    for _ in range(samples):
        start = str(uuid.UUID(int=random.getrandbits(128)))
        for point in (await store.scroll(limit=1, cursor=start)).points:
            if point.record.item_id not in drawn:
                drawn.add(point.record.item_id)
                yield point


async def _hits(store: GalleryStore, point: GalleryPoint, neighbours: int) -> list[str]:
    hits = await store.search(point.embedding, limit=neighbours + 1)
    return [canonical_id(hit.record.item_id) for hit in hits] or [""]


def _mean(values: list[float] | list[bool]) -> float | None:
    return sum(values) / len(values) if values else None
