"""Vector searches without a store: every vector compared by numpy, and faiss's graph."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aff_shared.errors import MissingExtraError

HITS = 10
_M, _EF_CONSTRUCT = 16, 100
_EF_LADDER = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)


@dataclass(frozen=True, slots=True)
class RivalSearch:
    """What a baseline's search takes.

    Attributes:
        recall_at_10: Mean share of the ten nearest vectors that are among its ten hits.
        passes_p50_ms: Median milliseconds of a search, of each pass over the queries.
        ef: Nodes that the search of a graph keeps; 0 where every vector is compared.
        built_s: Seconds that its index took.
    """

    recall_at_10: float
    passes_p50_ms: list[float]
    ef: int = 0
    built_s: float = 0.0


def numpy_search(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], nearest: NDArray[np.int64], passes: int
) -> RivalSearch:
    """Compare every vector: a product of matrix and vector, in as many threads as BLAS takes, and its ten largest.

    Args:
        vectors: (N, D), unit length.
        queries: (Q, D).
        nearest: (Q, 10), rows of the nearest vectors.
        passes: Over the queries.
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
) -> RivalSearch:
    """Search faiss's HNSW graph (m 16, ef_construct 100, one thread) as fast as this recall allows.

    Args:
        vectors: (N, D), unit length.
        queries: (Q, D).
        nearest: (Q, 10), rows of the nearest vectors.
        passes: Over the queries.
        recall: At 10, that the search has to reach: the least ef of a ladder that does is taken, else the largest.

    Raises:
        MissingExtraError: faiss is not installed.
    """
    try:
        import faiss  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError("faiss is not installed: pip install 'aff-toolkit[bench]'", item="faiss") from error
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
        found = _timed(search, queries, nearest, 1)
        if found.recall_at_10 >= recall:
            break
    found = _timed(search, queries, nearest, passes)
    return RivalSearch(found.recall_at_10, found.passes_p50_ms, ef=ef, built_s=built_s)


def _timed(
    search: Callable[[NDArray[np.float32]], NDArray[np.int64]],
    queries: NDArray[np.float32],
    nearest: NDArray[np.int64],
    passes: int,
) -> RivalSearch:
    medians = []
    for _ in range(passes):
        times, found = [], []
        for query in queries:
            began = time.perf_counter()
            found.append(search(query).tolist())
            times.append(1000 * (time.perf_counter() - began))
        medians.append(statistics.median(times))
    return RivalSearch(mean_recall(found, nearest.tolist()), medians)


def exact_neighbours(
    vectors: Iterable[NDArray[np.float32]], queries: NDArray[np.float32], limit: int
) -> NDArray[np.int64]:
    """Return the rows of the vectors with the largest dot products, the nearest first.

    Args:
        vectors: Chunks of (any, D), whose rows are counted through.
        queries: (Q, D).
        limit: k, at most the number of vectors.

    Returns:
        (Q, k).
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
    """Return the mean share of the nearest of each query, by exact search, that are among its hits."""
    return statistics.mean(
        len(set(hits) & set(wanted)) / len(wanted) for hits, wanted in zip(found, nearest, strict=True)
    )
