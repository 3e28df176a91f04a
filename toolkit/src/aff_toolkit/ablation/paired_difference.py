"""Two variants compared in pairs: seed by seed, and query by query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aff_toolkit.ablation.ablation_errors import RunsNotComparableError
from aff_toolkit.ablation.variant import Pairing, RunResult

RESAMPLES = 10_000
CONFIDENCE = 0.95
_RESAMPLES_AT_ONCE = 500
_SEED = 20230618

Means = NDArray[np.float64]
Statistic = Callable[[Means, Means], Means]


def difference(first: Means, second: Means) -> Means:
    """Return how much more the first mean is."""
    return first - second


def ratio(first: Means, second: Means) -> Means:
    """Return which share of the second mean the first is; 0 where the second is 0."""
    return np.divide(first, second, out=np.zeros_like(first), where=second > 0)


def runs_by_seed(runs: Sequence[RunResult], variant: str) -> dict[int, RunResult]:
    """Return the runs of a variant by seed, in the order of the seeds."""
    return {run.seed: run for run in sorted(runs, key=lambda run: run.seed) if run.variant == variant}


def precisions_of(runs: Mapping[int, RunResult], seeds: Sequence[int], pairing: Pairing) -> NDArray[np.float64]:
    """Return the average precisions of some seeds, (S, Q).

    Raises:
        RunsNotComparableError: The runs do not have the same number of queries.
    """
    rows = [runs[seed].average_precisions[pairing] for seed in seeds]
    if len({len(row) for row in rows}) > 1:
        raise RunsNotComparableError("its runs have different numbers of queries", item=runs[seeds[0]].variant)
    return np.array(rows, dtype=np.float64)


def bootstrap_interval(first: Means, second: Means, statistic: Statistic) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic of two means, by the paired bootstrap over queries.

    Queries are drawn with replacement, the same for both (Efron and Tibshirani, 1993, ch. 13); a fixed seed makes the
    interval a function of its arguments.

    Args:
        first: (Q,) average precisions, mean over seeds.
        second: (Q,) likewise, of the same queries.
        statistic: Takes the means of both, (R,) each, to (R,).
    """
    generator = np.random.default_rng(_SEED)
    drawn = []
    for _ in range(RESAMPLES // _RESAMPLES_AT_ONCE):
        queries = generator.integers(len(first), size=(_RESAMPLES_AT_ONCE, len(first)))
        drawn.append(statistic(first[queries].mean(axis=1), second[queries].mean(axis=1)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return float(low), float(high)
