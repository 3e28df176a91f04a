"""Synthetic galleries of any size, procedural photographs, and searches without a store: numpy, and faiss's graph."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
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
_PAUSE_S = 0.2  # between searches while a graph is built: they cost the builder little
HITS = 10
_M, _EF_CONSTRUCT = 16, 100
_EF_LADDER = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)

Search = Callable[[NDArray[np.float32]], NDArray[np.int64]]


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
    """
    rng = np.random.default_rng(seed)
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        instances = -(-size // _IMAGES_PER_INSTANCE)
        directions = rng.standard_normal((instances, dimension)).repeat(_IMAGES_PER_INSTANCE, axis=0)[:size]
        vectors = (directions + _SPREAD * rng.standard_normal((size, dimension))).astype(np.float32)
        yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def synthetic_queries(count: int, dimension: int, queries: int) -> NDArray[np.float32]:
    """Return (queries, D) float32 unit vectors near vectors of a gallery of `count`, at a cosine of 0.82 on average."""
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
    """Write an embedded gallery of synthetic embeddings with its HNSW graph into the new directory `edge_path`.

    Image i belongs to shard i modulo `shards`, which spreads the images of an instance; only one shard is written.
    """
    asyncio.run(write_points(settings, space, synthetic_points(space.dimension, count, shard, shards)))


async def write_points(
    settings: StoreSettings,
    space: EmbeddingSpace,
    batches: Iterable[Sequence[GalleryPoint]],
    queries: NDArray[np.float32] | None = None,
) -> list[float]:
    """Write batches of points with their HNSW graph into the new directory `edge_path`.

    While the graph is built, vectors (Q, D) of `queries` are searched one after the other; returns their milliseconds.
    """
    catalogue = await QdrantEdgeCatalogue.open(settings)
    try:
        await catalogue.create(space)
        store = await catalogue.collection(space)
        for batch in batches:
            await store.upsert(batch)
        graph = asyncio.create_task(store.build_graph())
        found: list[float] = []
        while queries is not None and not graph.done():
            began = time.perf_counter()
            await store.search(queries[len(found) % len(queries)], limit=HITS)
            found.append(1000 * (time.perf_counter() - began))
            await asyncio.sleep(_PAUSE_S)
        await graph
        return found
    finally:
        await catalogue.close()


def synthetic_points(dimension: int, count: int, shard: int = 0, shards: int = 1) -> Iterator[list[GalleryPoint]]:
    """Yield the gallery images of one shard in batches."""
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


@dataclass(frozen=True, slots=True)
class BaselineSearch:
    """Recall and latency of a baseline's search.

    Attributes:
        recall_at_10: Mean share of the ten nearest vectors among the ten hits.
        passes_p50_ms: Median milliseconds of a search, by pass over the queries.
        ef: Candidates that the graph search keeps; 0 for an exact search.
        built_s: Seconds to build the index.
    """

    recall_at_10: float
    passes_p50_ms: list[float]
    ef: int = 0
    built_s: float = 0.0


def exact_neighbours(
    vectors: Iterable[NDArray[np.float32]], queries: NDArray[np.float32], limit: int
) -> NDArray[np.int64]:
    """Return the rows (Q, limit) of the vectors with the largest dot products, the nearest first.

    Args:
        vectors: Chunks (any, D), with rows counted across chunks; at least `limit` vectors.
        queries: Query vectors (Q, D).
        limit: Number of neighbours.
    """
    scores = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    start = 0
    for chunk in vectors:
        numbers = np.broadcast_to(np.arange(start, start + len(chunk)), (len(queries), len(chunk)))
        scores = np.concatenate([scores, queries @ chunk.T], axis=1)
        rows = np.concatenate([rows, numbers], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :limit]
        scores, rows = np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)
        start += len(chunk)
    return rows


def mean_recall(found: Iterable[Collection[Hashable]], nearest: Iterable[Collection[Hashable]]) -> float:
    """Return the mean share of each query's nearest vectors among its hits."""
    return statistics.mean(
        len(set(hits) & set(expected)) / len(expected) for hits, expected in zip(found, nearest, strict=True)
    )


def numpy_search(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], nearest: NDArray[np.int64], passes: int
) -> BaselineSearch:
    """Measure exact search: a product of matrix and vector, in BLAS's default number of threads, and its ten largest.

    See `faiss_search`.
    """

    def search(query: NDArray[np.float32]) -> NDArray[np.int64]:
        scores = vectors @ query
        best = np.argpartition(scores, -HITS)[-HITS:]
        return np.asarray(best[np.argsort(-scores[best])])

    return _timed(search, queries, nearest, passes)


def faiss_search(
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    nearest: NDArray[np.int64],
    passes: int,
    *,
    recall: float,
) -> BaselineSearch:
    """Measure faiss's HNSW graph (m 16, ef_construct 100, one thread) at the smallest ef that reaches a recall.

    Args:
        vectors: Unit vectors (N, D).
        queries: Query vectors (Q, D).
        nearest: Rows of the nearest vectors (Q, 10).
        passes: Number of passes over the queries.
        recall: Required recall at 10; without an ef that reaches it, the largest ef is used.
    """
    import faiss  # noqa: PLC0415 - loads its own OpenMP runtime next to torch's

    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(vectors.shape[1], _M)  # L2 orders unit vectors as their products do, and is faster
    index.hnsw.efConstruction = _EF_CONSTRUCT
    began = time.perf_counter()
    index.add(vectors)
    built_s = time.perf_counter() - began

    def search(query: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.asarray(index.search(query[None], HITS)[1][0])

    for ef in _EF_LADDER:
        index.hnsw.efSearch = ef
        if _timed(search, queries, nearest, 1).recall_at_10 >= recall:
            break
    found = _timed(search, queries, nearest, passes)
    return BaselineSearch(found.recall_at_10, found.passes_p50_ms, ef=ef, built_s=built_s)


def _timed(search: Search, queries: NDArray[np.float32], nearest: NDArray[np.int64], passes: int) -> BaselineSearch:
    medians = []
    for _ in range(passes):
        times, found = [], []
        for query in queries:
            began = time.perf_counter()
            found.append(search(query).tolist())
            times.append(1000 * (time.perf_counter() - began))
        medians.append(statistics.median(times))
    return BaselineSearch(mean_recall(found, nearest.tolist()), medians)
