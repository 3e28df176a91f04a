"""Synthetic galleries of any size, and procedural photographs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.embedded.catalogue import QdrantEdgeCatalogue
from aff_shared.store.gallery_store import GalleryPoint, GalleryRecord
from aff_shared.store.settings import StoreSettings
from aff_toolkit.data.scenes import render_view

PHOTOGRAPH_SIZE = (480, 640)
_IMAGES_PER_INSTANCE = 10
_SPREAD = 0.7
_BATCH = 1024
_SEED = 0


def jpeg_photograph(number: int, size: tuple[int, int] = PHOTOGRAPH_SIZE) -> bytes:
    """Return a procedural photograph of (height, width) pixels as a JPEG file."""
    height, width = size
    pixels = cv2.cvtColor(render_view(number, 0, size=PHOTOGRAPH_SIZE), cv2.COLOR_RGB2BGR)
    if size != PHOTOGRAPH_SIZE:
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def synthetic_embeddings(count: int, dimension: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Yield batches (any, D) of unit vectors: ten around each of `count` / 10 random directions.

    Pure noise has no neighbours that a graph could find; embeddings of photographs form clusters by instance. Two
    vectors of one instance have a cosine similarity of 0.67 on average.

    Args:
        count: Total number of vectors.
        dimension: Embedding dimension D.
        seed: Seed of directions and noise.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        instances = -(-size // _IMAGES_PER_INSTANCE)
        directions = rng.standard_normal((instances, dimension)).repeat(_IMAGES_PER_INSTANCE, axis=0)[:size]
        vectors = (directions + _SPREAD * rng.standard_normal((size, dimension))).astype(np.float32)
        yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def synthetic_queries(count: int, dimension: int, queries: int) -> NDArray[np.float32]:
    """Return unit vectors near vectors of a gallery of `count`, at a cosine of 0.82 on average.

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
    """Write an embedded gallery of synthetic embeddings with its HNSW graph into a new directory.

    Args:
        settings: Store settings; `edge_path` is the directory.
        space: Embedding space.
        count: Number of images of the whole gallery.
        shard: Number of the written shard, from 0.
        shards: Number of shards; image i belongs to shard i modulo `shards`, which spreads the images of an instance.
    """
    asyncio.run(write_points(settings, space, _points(space.dimension, count, shard, shards)))


async def write_points(
    settings: StoreSettings, space: EmbeddingSpace, batches: Iterable[Sequence[GalleryPoint]]
) -> None:
    """Write an embedded gallery with its HNSW graph into a new directory.

    Args:
        settings: Store settings; `edge_path` is the directory.
        space: Embedding space.
        batches: Points, written batch by batch.
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
    """Return gallery image `number`, from 0, with its record."""
    payload = {"place": f"place {number // _IMAGES_PER_INSTANCE}", "year": 1990 + number % 35}
    record = GalleryRecord(synthetic_item_id(number), "0" * 64, 640, 480, datetime.now(UTC), payload)
    return GalleryPoint(record, embedding)


def synthetic_item_id(number: int) -> str:
    """Return the item id of gallery image `number`, from 0."""
    return f"photographs/{number}.jpg"


def collection_directory(gallery: Path) -> Path:
    """Return the directory of the only collection of an embedded gallery."""
    (directory,) = (gallery / "collections").iterdir()
    return directory
