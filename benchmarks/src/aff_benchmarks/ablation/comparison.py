"""Comparisons of two variants, or of two pairings of one variant, and the rule for their verdict.

Per seed, compute the statistic (a difference of mAP, or a ratio) between the two runs of that seed. Over queries,
compute the 95 % interval of the statistic of the mean over seeds (paired bootstrap). Then

- `holds`: at least three seeds, the statistic above the threshold in each of them, and the interval above it too;
- `fails`: at least three seeds, the statistic below the threshold in each of them, and the interval below it too;
- `inconclusive`: everything else.

The seeds cover the randomness of training, the interval that of the queries; a verdict requires both. The threshold of
"beats" is 0; that of "never hurts" and "hardly hurts" is minus one mAP point (non-inferiority); that of retention is
the paper's 0.88.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aff_benchmarks.ablation.ablation_config import RunsNotComparableError
from aff_benchmarks.ablation.variant import Pairing, RunResult
from aff_benchmarks.records import FrozenModel, StrictModel
from aff_toolkit.evaluation.retrieval_scores import bootstrap_interval, difference, ratio

Verdict = Literal["holds", "fails", "inconclusive"]

_MIN_SEEDS = 3
HARMLESS = 0.01


class Comparison(StrictModel):
    """A claim on two sets of runs: a difference of mAP, or a ratio, exceeds a threshold.

    Attributes:
        first: Variant that the claim favours.
        second: Variant to compare with.
        threshold: Value that the statistic must exceed, 0 to 1.
    """

    label: str
    first: str
    second: str
    first_pairing: Pairing = "asymmetric"
    second_pairing: Pairing = "asymmetric"
    statistic: Literal["difference", "ratio"] = "difference"
    threshold: float = 0.0


class ComparisonResult(Comparison):
    """A comparison and its result; figures from 0 to 1.

    Attributes:
        seeds: Seeds that both variants finished.
        per_seed: Statistic by seed.
        deviation: Sample standard deviation over seeds; None below two seeds.
        low: Lower end of the 95 % interval over queries.
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
    if len(per_seed) < _MIN_SEEDS:
        return "inconclusive"
    if min(per_seed) > threshold and low > threshold:
        return "holds"
    if max(per_seed) < threshold and high < threshold:
        return "fails"
    return "inconclusive"


def compare(comparison: Comparison, runs: Sequence[RunResult]) -> ComparisonResult:
    """Evaluate a comparison on the seeds that both variants finished.

    Raises:
        RunsNotComparableError: The runs have different numbers of queries.
    """
    firsts, seconds = runs_by_seed(runs, comparison.first), runs_by_seed(runs, comparison.second)
    seeds = tuple(seed for seed in firsts if seed in seconds)
    if not seeds:
        return ComparisonResult(**comparison.model_dump())
    return ComparisonResult(**comparison.model_dump(), seeds=seeds, **_measured(comparison, firsts, seconds, seeds))


def _measured(
    comparison: Comparison, firsts: Mapping[int, RunResult], seconds: Mapping[int, RunResult], seeds: Sequence[int]
) -> dict[str, object]:
    first = _precisions(firsts, seeds, comparison.first_pairing)
    second = _precisions(seconds, seeds, comparison.second_pairing)
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


def _precisions(runs: Mapping[int, RunResult], seeds: Sequence[int], pairing: Pairing) -> NDArray[np.float64]:
    """Return the average precisions (S, Q) of these seeds."""
    rows = [runs[seed].average_precisions[pairing] for seed in seeds]
    if len({len(row) for row in rows}) > 1:
        raise RunsNotComparableError("runs have different numbers of queries", item=runs[seeds[0]].variant)
    return np.array(rows, dtype=np.float64)


class Finding(FrozenModel):
    """A claim and the comparisons that decide it.

    Attributes:
        number: Number of the paper's finding; None for a question of this project.
        comparisons: Deciding comparisons: the claim holds if all of them hold, and fails if one fails.
        informative: Comparisons without effect on the verdict.
    """

    number: int | None
    claim: str
    comparisons: tuple[Comparison, ...]
    informative: tuple[Comparison, ...] = ()


class JudgedFinding(FrozenModel):
    """A finding (see Finding) and its results.

    Attributes:
        verdict: `holds` if every comparison holds, `fails` if one fails, else `inconclusive`.
        figures: Deciding comparisons.
    """

    number: int | None
    claim: str
    verdict: Verdict
    figures: tuple[ComparisonResult, ...]
    informative: tuple[ComparisonResult, ...]

    @property
    def was_run(self) -> bool:
        """Whether any comparison was measured."""
        return any(figure.mean is not None for figure in (*self.figures, *self.informative))


def judge_finding(finding: Finding, runs: Sequence[RunResult]) -> JudgedFinding:
    """Evaluate the comparisons of a finding."""
    figures = tuple(compare(comparison, runs) for comparison in finding.comparisons)
    verdicts = {figure.verdict for figure in figures}
    verdict: Verdict = "fails" if "fails" in verdicts else "inconclusive" if "inconclusive" in verdicts else "holds"
    return JudgedFinding(
        number=finding.number,
        claim=finding.claim,
        verdict=verdict,
        figures=figures,
        informative=tuple(compare(comparison, runs) for comparison in finding.informative),
    )
