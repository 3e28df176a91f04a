"""A gallery of synthetic embeddings, as large as wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.embedded.catalogue import QdrantEdgeCatalogue
from aff_shared.store.gallery_store import GalleryPoint, GalleryRecord
from aff_shared.store.settings import StoreSettings

_IMAGES_PER_THING = 10
_SPREAD = 0.7
_AT_A_TIME = 1024
_SEED = 0


def synthetic_embeddings(count: int, dimension: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Give unit vectors, some at a time: ten around each of `count` / 10 random directions.

    Vectors of nothing but noise have no neighbours, and no graph finds its way among them; those of photographs stand
    together by what they show. Two of one thing have a cosine similarity of 0.67 on average.

    Args:
        count: Of all vectors.
        dimension: D.
        seed: Of the directions and of the noise.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, count, _AT_A_TIME):
        size = min(_AT_A_TIME, count - start)
        things = -(-size // _IMAGES_PER_THING)
        directions = rng.standard_normal((things, dimension)).repeat(_IMAGES_PER_THING, axis=0)[:size]
        vectors = (directions + _SPREAD * rng.standard_normal((size, dimension))).astype(np.float32)
        yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def synthetic_queries(count: int, dimension: int, queries: int) -> NDArray[np.float32]:
    """Return unit vectors that lie near vectors of a gallery of `count`, at a cosine of 0.82 on average.

    Returns:
        (queries, D) float32.
    """
    rng = np.random.default_rng(1)
    chosen = np.sort(rng.integers(count, size=queries))
    found, start = [], 0
    for vectors in synthetic_embeddings(count, dimension, seed=_SEED):
        found.append(vectors[chosen[(chosen >= start) & (chosen < start + len(vectors))] - start])
        start += len(vectors)
    noise = rng.standard_normal((queries, dimension)) * _SPREAD / np.sqrt(dimension)
    near = np.concatenate(found) + noise
    return np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True), dtype=np.float32)


def write_gallery(
    settings: StoreSettings, space: EmbeddingSpace, count: int, *, shard: int = 0, shards: int = 1
) -> None:
    """Write an embedded gallery of synthetic embeddings, with its HNSW graph; its directory must not exist yet.

    Args:
        settings: Of the gallery; its `edge_path` is the directory.
        space: Of the embeddings.
        count: Images of the whole gallery.
        shard: Which of the `shards` parts of it is written, counted from 0.
        shards: Parts: image i belongs to part i modulo `shards`, so that those of one thing are spread over them.
    """
    asyncio.run(write_points(settings, space, _points(space.dimension, count, shard, shards)))


async def write_points(
    settings: StoreSettings, space: EmbeddingSpace, batches: Iterable[Sequence[GalleryPoint]]
) -> None:
    """Write an embedded gallery with its HNSW graph; its directory must not exist yet.

    Args:
        settings: Of the gallery; its `edge_path` is the directory.
        space: Of the embeddings.
        batches: What it is to hold.
    """
    catalogue = await QdrantEdgeCatalogue.open(settings)
    try:
        await catalogue.create(space)
        store = await catalogue.collection(space)
        for batch in batches:
            await store.upsert(batch)
        await store.build_graph()
    finally:
        await catalogue.close()


def _points(dimension: int, count: int, shard: int, shards: int) -> Iterator[list[GalleryPoint]]:
    written = 0
    for vectors in synthetic_embeddings(count, dimension, seed=_SEED):
        rows = range((shard - written) % shards, len(vectors), shards)
        yield [synthetic_point(written + row, vectors[row]) for row in rows]
        written += len(vectors)


def synthetic_point(number: int, embedding: NDArray[np.float32]) -> GalleryPoint:
    """Return an image of the gallery, counted from 0, with its record."""
    payload = {"place": f"place {number // _IMAGES_PER_THING}", "year": 1990 + number % 35}
    record = GalleryRecord(synthetic_item_id(number), "0" * 64, 640, 480, datetime.now(UTC), payload)
    return GalleryPoint(record, embedding)


def synthetic_item_id(number: int) -> str:
    """Return the item id of an image of the gallery, counted from 0."""
    return f"photographs/{number}.jpg"


def collection_directory(gallery: Path) -> Path:
    """Return the directory of the only collection of an embedded gallery."""
    (directory,) = (gallery / "collections").iterdir()
    return directory
