"""Vector search: from the embedding of a query to hits, with grouping and query expansion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aff_shared.schemas.indexing import JsonObject
from aff_shared.schemas.payload_filter import key_parts
from aff_shared.schemas.searching import HitOptions
from aff_shared.store.gallery_store import Embedding, GalleryHit, GalleryStore

_GROUP_FACTOR = 4


@dataclass(frozen=True, slots=True)
class VectorSearch:
    """Searches a store.

    Attributes:
        expansion_alpha: Exponent of the similarities that weight the hits of a query expansion.
        group_reach: Maximum number of images that are searched for hits of different groups; fewer if the store allows
            fewer hits.
        default_limit: Maximum number of hits if the options name none.
    """

    expansion_alpha: float
    group_reach: int
    default_limit: int

    async def find(
        self, store: GalleryStore, embedding: Embedding, options: HitOptions, *, excluded: str | None = None
    ) -> list[GalleryHit]:
        """Return the hits of a query by descending similarity.

        Args:
            store: Store that is searched.
            embedding: (D,) float32, unit length.
            options: Options of the search.
            excluded: Id of an image that is not returned.

        Raises:
            StoreError: The gallery is missing, or cannot be searched.
        """
        limit = options.limit or self.default_limit
        if options.expand:
            embedding = await self._expanded(store, embedding, options, options.expand, excluded)
        if options.group_by is None:
            return await _nearest(store, embedding, options, limit, excluded)
        farthest = await self._reach_in(store, limit, excluded)
        reach = min(_GROUP_FACTOR * limit, farthest)
        while True:
            hits = await _nearest(store, embedding, options, reach, excluded)
            found = _first_of_groups(hits, options.group_by)
            if len(found) >= limit or len(hits) < reach or reach == farthest:
                return found[:limit]
            reach = min(_GROUP_FACTOR * reach, farthest)

    async def _reach_in(self, store: GalleryStore, limit: int, excluded: str | None) -> int:
        """Return the reach, lowered to what the store allows; the store itself rejects a `limit` above that."""
        most = await store.most_hits()
        if most is None:
            return self.group_reach
        return min(self.group_reach, max(limit, most - (excluded is not None)))

    async def _expanded(
        self, store: GalleryStore, embedding: Embedding, options: HitOptions, count: int, excluded: str | None
    ) -> Embedding:
        """Return the alpha-weighted mean of a query and its first hits (Radenovic et al., TPAMI 2018)."""
        hits = await store.search(
            embedding,
            limit=count + (excluded is not None),
            payload_filter=options.filter,
            with_embeddings=True,
        )
        return expanded(embedding, _without(hits, excluded, count), self.expansion_alpha)


def expanded(embedding: Embedding, hits: Sequence[GalleryHit], alpha: float) -> Embedding:
    """Return the unit vector along the sum of a query and its hits, each weighted by its similarity to the power alpha.

    Args:
        embedding: (D,) float32, unit length.
        hits: Hits with their embeddings.
        alpha: Exponent; 0 weights all hits equally.
    """
    total = embedding.astype(np.float64)
    for hit in hits:
        assert hit.embedding is not None, "the search requests embeddings"
        total += max(hit.score, 0.0) ** alpha * hit.embedding
    return (total / np.linalg.norm(total)).astype(np.float32)


async def _nearest(
    store: GalleryStore, embedding: Embedding, options: HitOptions, limit: int, excluded: str | None
) -> list[GalleryHit]:
    hits = await store.search(
        embedding,
        limit=limit + (excluded is not None),
        payload_filter=options.filter,
        score_threshold=options.score_threshold,
    )
    return _without(hits, excluded, limit)


def _without(hits: Sequence[GalleryHit], excluded: str | None, limit: int) -> list[GalleryHit]:
    return [hit for hit in hits if hit.record.item_id != excluded][:limit]


def _first_of_groups(hits: Sequence[GalleryHit], key: str) -> list[GalleryHit]:
    """Return the first hit of every value of a key, without the hits that lack the key."""
    found: dict[str, GalleryHit] = {}
    path = key_parts(key)
    for hit in hits:
        value = _value(hit.record.payload, path)
        if value is not None:
            found.setdefault(json.dumps(value, sort_keys=True), hit)
    return list(found.values())


def _value(payload: JsonObject, path: Sequence[str]) -> Any:
    """Return the value at the end of a path into nested objects; None if there is none."""
    value: Any = payload
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value
