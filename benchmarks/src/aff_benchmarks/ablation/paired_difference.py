"""Two variants compared in pairs, seed by seed: their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aff_benchmarks.ablation.ablation_errors import RunsNotComparableError
from aff_benchmarks.ablation.variant import Pairing, RunResult


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
