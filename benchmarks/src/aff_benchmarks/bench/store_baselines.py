"""Vector searches without a store: exact search with numpy, and faiss's HNSW graph."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HITS = 10
_M, _EF_CONSTRUCT = 16, 100
_EF_LADDER = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)

Search = Callable[[NDArray[np.float32]], NDArray[np.int64]]


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
    """Return the rows of the vectors with the largest dot products, the nearest first.

    Args:
        vectors: Chunks (any, D), with rows counted across chunks.
        queries: Query vectors (Q, D).
        limit: Number k of neighbours, at most the number of vectors.

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
    """Return the mean share of each query's nearest vectors among its hits."""
    return statistics.mean(
        len(set(hits) & set(expected)) / len(expected) for hits, expected in zip(found, nearest, strict=True)
    )


def numpy_search(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], nearest: NDArray[np.int64], passes: int
) -> BaselineSearch:
    """Measure exact search: a product of matrix and vector, in BLAS's default number of threads, and its ten largest.

    Args:
        vectors: Unit vectors (N, D).
        queries: Query vectors (Q, D).
        nearest: Rows of the nearest vectors (Q, 10).
        passes: Passes over the queries.
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
        passes: Passes over the queries.
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
