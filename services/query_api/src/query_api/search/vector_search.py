"""From a query's embedding to hits: one vector search, or a few."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aff_shared.schemas.indexing import JsonObject
from aff_shared.schemas.payload_filter import key_parts
from aff_shared.store.gallery_store import Embedding, GalleryHit, GalleryStore
from query_api.search.search_query import SearchQuery

_GROUP_FACTOR = 4


@dataclass(frozen=True, slots=True)
class VectorSearch:
    """Searches a store.

    Attributes:
        expansion_alpha: Exponent of the similarities that weight the hits of an expansion.
        group_reach: Most images that are looked through for hits of different groups; fewer where the store allows
            fewer hits.
    """

    expansion_alpha: float
    group_reach: int

    async def find(
        self, store: GalleryStore, embedding: Embedding, wanted: SearchQuery, *, excluded: str | None = None
    ) -> list[GalleryHit]:
        """Return the hits of a query by falling similarity.

        Args:
            store: Searched.
            embedding: (D,) float32, unit length.
            wanted: Which hits.
            excluded: Id of an image that is none.

        Raises:
            StoreError: The gallery is missing, or cannot be searched.
        """
        if wanted.expand:
            embedding = await self._expanded(store, embedding, wanted, excluded)
        if wanted.group_by is None:
            return await _nearest(store, embedding, wanted, wanted.limit, excluded)
        farthest = await self._reach_in(store, wanted.limit, excluded)
        reach = min(_GROUP_FACTOR * wanted.limit, farthest)
        while True:
            hits = await _nearest(store, embedding, wanted, reach, excluded)
            found = _first_of_groups(hits, wanted.group_by)
            if len(found) >= wanted.limit or len(hits) < reach or reach == farthest:
                return found[: wanted.limit]
            reach = min(_GROUP_FACTOR * reach, farthest)

    async def _reach_in(self, store: GalleryStore, limit: int, excluded: str | None) -> int:
        """Return the reach, lowered to what a store allows; a limit above that is for the store to refuse."""
        most = await store.most_hits()
        if most is None:
            return self.group_reach
        return min(self.group_reach, max(limit, most - (excluded is not None)))

    async def _expanded(
        self, store: GalleryStore, embedding: Embedding, wanted: SearchQuery, excluded: str | None
    ) -> Embedding:
        """Return the alpha-weighted mean of a query and its first hits (Radenovic et al., TPAMI 2018)."""
        hits = await store.search(
            embedding,
            limit=wanted.expand + (excluded is not None),
            payload_filter=wanted.payload_filter,
            with_embeddings=True,
        )
        return expanded(embedding, _without(hits, excluded, wanted.expand), self.expansion_alpha)


def expanded(embedding: Embedding, hits: Sequence[GalleryHit], alpha: float) -> Embedding:
    """Return the unit vector along the sum of a query and its hits, each by its similarity to the power of alpha.

    Args:
        embedding: (D,) float32, unit length.
        hits: With their embeddings.
        alpha: 0 weights all alike.
    """
    total = embedding.astype(np.float64)
    for hit in hits:
        assert hit.embedding is not None, "they were asked for"
        total += max(hit.score, 0.0) ** alpha * hit.embedding
    return (total / np.linalg.norm(total)).astype(np.float32)


async def _nearest(
    store: GalleryStore, embedding: Embedding, wanted: SearchQuery, limit: int, excluded: str | None
) -> list[GalleryHit]:
    hits = await store.search(
        embedding,
        limit=limit + (excluded is not None),
        payload_filter=wanted.payload_filter,
        score_threshold=wanted.score_threshold,
    )
    return _without(hits, excluded, limit)


def _without(hits: Sequence[GalleryHit], excluded: str | None, limit: int) -> list[GalleryHit]:
    return [hit for hit in hits if hit.record.item_id != excluded][:limit]


def _first_of_groups(hits: Sequence[GalleryHit], key: str) -> list[GalleryHit]:
    """Keep the first hit of every value of a key; hits without the key go."""
    found: dict[str, GalleryHit] = {}
    path = key_parts(key)
    for hit in hits:
        value = _value(hit.record.payload, path)
        if value is not None:
            found.setdefault(json.dumps(value, sort_keys=True), hit)
    return list(found.values())


def _value(payload: JsonObject, path: Sequence[str]) -> Any:
    """Return what stands at the end of a path into nested objects."""
    value: Any = payload
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value
