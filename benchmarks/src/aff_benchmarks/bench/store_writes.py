"""A gallery store written and searched as the services do it, through its Protocol."""

from __future__ import annotations

import secrets
import statistics
import time

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from aff_benchmarks.bench.synthetic_gallery import synthetic_embeddings, synthetic_point
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_store import GalleryStore
from aff_shared.store.open_catalogue import open_catalogue
from aff_shared.store.settings import StoreSettings

_BATCH = 128


class StoreWrites(BaseModel):
    """What was measured.

    Attributes:
        upserts_per_s: Durable ones, 128 at a time, one call after the other.
        p50_ms: Of a search of what was just written, one after the other.
    """

    model_config = ConfigDict(frozen=True)

    upserts_per_s: float
    p50_ms: float


async def measure_store(settings: StoreSettings, images: int, queries: NDArray[np.float32]) -> StoreWrites:
    """Write a gallery of synthetic embeddings, search it, and drop it.

    Args:
        settings: Of the store; it gets a collection of a name of its own, which is not live.
        images: To write.
        queries: (Q, D).

    Raises:
        StoreError: The store is away, or refuses.
    """
    dimension = queries.shape[1]
    space = EmbeddingSpace(id="0" * 64, dimension=dimension)
    own_name = f"aff-bench-{secrets.token_hex(4)}"
    catalogue = await open_catalogue(settings.model_copy(update={"collection": own_name}))
    store = await catalogue.collection(space)
    try:
        await store.create(space)
        upserts_per_s = images / await _write(store, images, dimension)
        p50_ms = statistics.median([await _search(store, query) for query in queries])
    finally:
        await catalogue.drop(space.id)
        await catalogue.close()
    return StoreWrites(upserts_per_s=upserts_per_s, p50_ms=p50_ms)


async def _write(store: GalleryStore, images: int, dimension: int) -> float:
    """Return the seconds that the store took."""
    seconds, written = 0.0, 0
    for vectors in synthetic_embeddings(images, dimension, seed=0):
        for start in range(0, len(vectors), _BATCH):
            points = [
                synthetic_point(written + row, vectors[row]) for row in range(start, min(start + _BATCH, len(vectors)))
            ]
            began = time.perf_counter()
            await store.upsert(points)
            seconds += time.perf_counter() - began
        written += len(vectors)
    return seconds


async def _search(store: GalleryStore, query: NDArray[np.float32]) -> float:
    began = time.perf_counter()
    await store.search(query, limit=10)
    return 1000 * (time.perf_counter() - began)
