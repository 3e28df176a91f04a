"""The hits of several shards as those of one gallery."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import islice

from aff_shared.store.gallery_store import GalleryHit


def merge_hits(shards: Sequence[Sequence[GalleryHit]], limit: int) -> list[GalleryHit]:
    """Return the best `limit` hits of all shards, by falling score; of equal ones those of the earlier shard.

    Where every shard gave its own best `limit` hits, these are the best of the whole gallery.

    Args:
        shards: Hits of each shard, by falling score; a shard may have fewer than `limit`, or none.
        limit: Most hits that are wanted.
    """
    return list(islice(heapq.merge(*shards, key=lambda hit: hit.score, reverse=True), limit))
