"""Confidence intervals of differences between two figures of the same queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
CONFIDENCE = 0.95
_RESAMPLES_AT_ONCE = 500
_SEED = 20230618

Means = NDArray[np.float64]
Statistic = Callable[[Means, Means], Means]


def difference(first: Means, second: Means) -> Means:
    """Return the first mean minus the second."""
    return first - second


def ratio(first: Means, second: Means) -> Means:
    """Return the first mean divided by the second; 0 where the second is 0."""
    return np.divide(first, second, out=np.zeros_like(first), where=second > 0)


def bootstrap_interval(
    first: Means, second: Means, statistic: Statistic, *, groups: Sequence[str] | None = None
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic of two means, by the paired bootstrap over queries.

    Queries are drawn with replacement, the same for both (Efron and Tibshirani, 1993, ch. 13); a fixed seed makes the
    interval a function of its arguments.

    Args:
        first: (Q,) figure of each query: average precisions, or hits; in an ablation the mean over seeds.
        second: (Q,) figure of the same queries by the other method.
        statistic: Takes the means of both, (R,) each, to (R,).
        groups: Q names; queries of one name are drawn together, since queries for one thing succeed and fail together.
            None draws each query alone.
    """
    _, numbers = np.unique(np.arange(len(first)) if groups is None else np.asarray(groups), return_inverse=True)
    sizes, sums_of_first, sums_of_second = (np.bincount(numbers, weights=weights) for weights in (None, first, second))
    generator = np.random.default_rng(_SEED)
    drawn = []
    for _ in range(RESAMPLES // _RESAMPLES_AT_ONCE):
        chosen = generator.integers(len(sizes), size=(_RESAMPLES_AT_ONCE, len(sizes)))
        queries = sizes[chosen].sum(axis=1)
        means = (sums[chosen].sum(axis=1) / queries for sums in (sums_of_first, sums_of_second))
        drawn.append(statistic(*means))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return float(low), float(high)
