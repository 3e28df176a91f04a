"""One comparison of two variants, or of two pairings of one, and the rule that judges it.

The rule, the same for every comparison. Per seed, take the statistic (a difference of mAP, or a ratio) between the two
runs of that seed. Over queries, take the 95 % interval of the statistic of the mean over seeds (paired bootstrap). Then

- `holds`: at least three seeds, the statistic above the threshold in each of them, and the interval above it too;
- `fails`: at least three seeds, the statistic below the threshold in each of them, and the interval below it too;
- `inconclusive`: everything else.

The seeds answer for the chance of training, the interval for the chance of the queries; a verdict needs both. The
threshold of "beats" is 0; that of "never hurts" and "hardly hurts" is minus one mAP point (non-inferiority); that of
retention is the paper's 0.88.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from aff_benchmarks.ablation.ablation_config import RunsNotComparableError
from aff_benchmarks.ablation.variant import Pairing, RunResult
from aff_toolkit.evaluation.paired_bootstrap import bootstrap_interval, difference, ratio

Verdict = Literal["holds", "fails", "inconclusive"]

MIN_SEEDS = 3
HARMLESS = 0.01


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Comparison(_Model):
    """What a finding claims of two sets of runs.

    Attributes:
        label: What differs, in few words.
        first: Variant that the claim favours.
        second: Variant that it is compared with.
        first_pairing: Whose average precisions of `first`.
        second_pairing: Whose of `second`.
        statistic: `difference` of mAP, or `ratio`.
        threshold: What the statistic must exceed, 0..1.
    """

    label: str
    first: str
    second: str
    first_pairing: Pairing = "asymmetric"
    second_pairing: Pairing = "asymmetric"
    statistic: Literal["difference", "ratio"] = "difference"
    threshold: float = 0.0


class ComparisonResult(Comparison):
    """A comparison with what was measured; everything from 0 to 1.

    Attributes:
        seeds: Seeds that both variants finished.
        per_seed: The statistic of each seed.
        mean: Over seeds; None without a seed.
        deviation: Sample standard deviation over seeds; None below two seeds.
        low: Lower end of the 95 % interval over queries.
        high: Its upper end.
        verdict: By the module's rule.
    """

    seeds: tuple[int, ...] = ()
    per_seed: tuple[float, ...] = ()
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: Verdict = "inconclusive"


def judge(per_seed: Sequence[float], low: float, high: float, threshold: float) -> Verdict:
    """Apply the module's rule."""
    if len(per_seed) < MIN_SEEDS:
        return "inconclusive"
    if min(per_seed) > threshold and low > threshold:
        return "holds"
    if max(per_seed) < threshold and high < threshold:
        return "fails"
    return "inconclusive"


def compare(comparison: Comparison, runs: Sequence[RunResult]) -> ComparisonResult:
    """Measure and judge a comparison on the seeds that both variants finished.

    Raises:
        RunsNotComparableError: The runs were not scored on the same number of queries.
    """
    firsts, seconds = runs_by_seed(runs, comparison.first), runs_by_seed(runs, comparison.second)
    seeds = tuple(seed for seed in firsts if seed in seconds)
    if not seeds:
        return ComparisonResult(**comparison.model_dump())
    return ComparisonResult(**comparison.model_dump(), seeds=seeds, **_measured(comparison, firsts, seconds, seeds))


def _measured(
    comparison: Comparison, firsts: Mapping[int, RunResult], seconds: Mapping[int, RunResult], seeds: Sequence[int]
) -> dict[str, object]:
    first = precisions_of(firsts, seeds, comparison.first_pairing)
    second = precisions_of(seconds, seeds, comparison.second_pairing)
    if first.shape != second.shape:
        detail = f"{first.shape[1]} queries, but {second.shape[1]} in {comparison.second}"
        raise RunsNotComparableError(detail, item=comparison.first)
    statistic = difference if comparison.statistic == "difference" else ratio
    per_seed = tuple(statistic(first.mean(axis=1), second.mean(axis=1)).tolist())
    low, high = bootstrap_interval(first.mean(axis=0), second.mean(axis=0), statistic)
    return {
        "per_seed": per_seed,
        "mean": float(np.mean(per_seed)),
        "deviation": float(np.std(per_seed, ddof=1)) if len(seeds) > 1 else None,
        "low": low,
        "high": high,
        "verdict": judge(per_seed, low, high, comparison.threshold),
    }


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
