"""Whether a collection may take the live one's place: the same images, and searches that find them."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator

from aff_contracts.gallery_store.gallery_store import GalleryPoint, GalleryStore
from aff_contracts.schemas.gallery import CollectionComparison
from aff_contracts.schemas.item_id import canonical_id

_PAGE = 1000
_NAMED_IDS = 20


async def compare_collections(
    live: GalleryStore, other: GalleryStore, *, samples: int, neighbours: int
) -> CollectionComparison:
    """Compare two collections of one gallery.

    Each is read once, and only ids that differ are kept. For images of the live collection that
    are drawn at random, the nearest neighbours in both are compared.

    Args:
        live: The live collection.
        other: The one that may take its place.
        samples: Images that are searched with, at most.
        neighbours: Hits of each search, without the image itself.

    Raises:
        StoreError: A store failed.
    """
    missing, surplus = await _differences(live, other)
    found_live, found_other, shared = [], [], []
    for point in await _sample(live, samples):
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
        missing=len(missing),
        missing_ids=missing[:_NAMED_IDS],
        surplus=len(surplus),
        surplus_ids=surplus[:_NAMED_IDS],
        samples=len(shared),
        live_self_recall=_mean(found_live),
        self_recall=_mean(found_other),
        shared_neighbours=_mean(shared),
    )


async def _differences(live: GalleryStore, other: GalleryStore) -> tuple[list[str], list[str]]:
    """Give the ids that only the first, and only the second has."""
    alone: tuple[dict[str, None], dict[str, None]] = ({}, {})
    streams = (_ids(live), _ids(other))
    running = [True, True]
    while any(running):
        for place, stream in enumerate(streams):
            if not running[place]:
                continue
            item_id = await anext(stream, None)
            if item_id is None:
                running[place] = False
            elif item_id in alone[1 - place]:
                del alone[1 - place][item_id]
            else:
                alone[place][item_id] = None
    return list(alone[0]), list(alone[1])


async def _ids(store: GalleryStore) -> AsyncIterator[str]:
    cursor: str | None = None
    while True:
        page = await store.scroll(limit=_PAGE, cursor=cursor)
        for point in page.points:
            yield canonical_id(point.record.item_id)
        cursor = page.cursor
        if cursor is None:
            return


async def _sample(store: GalleryStore, samples: int) -> list[GalleryPoint]:
    """Draw images: those that follow random places in the order of the point ids, which are hashes."""
    drawn: dict[str, GalleryPoint] = {}
    for _ in range(samples):
        start = str(uuid.UUID(int=random.getrandbits(128)))
        for point in (await store.scroll(limit=1, cursor=start)).points:
            drawn[point.record.item_id] = point
    return list(drawn.values())


async def _hits(store: GalleryStore, point: GalleryPoint, neighbours: int) -> list[str]:
    hits = await store.search(point.embedding, limit=neighbours + 1)
    return [canonical_id(hit.record.item_id) for hit in hits] or [""]


def _mean(values: list[float] | list[bool]) -> float | None:
    return sum(values) / len(values) if values else None
