"""The nearest vectors, found by comparing every one, and how many of them a search finds."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Hashable, Iterable

import numpy as np
from numpy.typing import NDArray


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
