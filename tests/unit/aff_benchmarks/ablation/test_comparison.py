"""Comparisons of two variants, by seed and by query, and their verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from aff_benchmarks.ablation.ablation_config import RunsNotComparableError
from aff_benchmarks.ablation.comparison import Comparison, compare, judge
from aff_benchmarks.ablation.variant import PairingScores, RunResult

QUERIES = 40


def _run(variant: str, seed: int, asymmetric: Sequence[float], symmetric: Sequence[float] | None = None) -> RunResult:
    precisions = {"asymmetric": tuple(asymmetric), "symmetric": tuple(symmetric or asymmetric)}
    scores = {name: PairingScores(map=math.fsum(p) / len(p), recall_at_1=0.0) for name, p in precisions.items()}
    return RunResult.model_validate(
        {
            "variant": variant,
            "seed": seed,
            "scores": scores,
            "average_precisions": precisions,
            "seconds": 1.0,
            "images_per_s": 1.0,
        }
    )


def _runs(variant: str, means: Sequence[float], queries: int = QUERIES) -> list[RunResult]:
    return [_run(variant, seed, [mean] * queries) for seed, mean in enumerate(means)]


BEATS = Comparison(label="fusion", first="fused", second="single")


def test_a_variant_that_is_better_in_every_seed_and_over_the_queries_beats_the_other() -> None:
    result = compare(BEATS, [*_runs("fused", [0.5, 0.6, 0.7]), *_runs("single", [0.4, 0.4, 0.4])])
    assert result.per_seed == pytest.approx((0.1, 0.2, 0.3))
    assert result.mean == pytest.approx(0.2)
    assert result.deviation == pytest.approx(0.1)
    assert (result.low, result.high) == pytest.approx((0.2, 0.2))
    assert result.verdict == "holds"


def test_a_variant_that_is_worse_in_every_seed_fails() -> None:
    result = compare(BEATS, [*_runs("fused", [0.3, 0.3, 0.3]), *_runs("single", [0.4, 0.5, 0.4])])
    assert result.verdict == "fails"


def test_seeds_that_disagree_are_inconclusive() -> None:
    result = compare(BEATS, [*_runs("fused", [0.5, 0.6, 0.3]), *_runs("single", [0.4, 0.4, 0.4])])
    assert result.verdict == "inconclusive"


def test_queries_that_disagree_are_inconclusive_though_every_seed_agrees() -> None:
    half = QUERIES // 2
    first = [1.0] * half + [0.0] * half
    second = [0.0] * (half - 1) + [0.95] * (half + 1)
    runs = [_run(name, seed, p) for seed in range(3) for name, p in (("fused", first), ("single", second))]
    result = compare(BEATS, runs)
    assert min(result.per_seed) > 0
    assert result.low is not None
    assert result.low < 0
    assert result.verdict == "inconclusive"


def test_only_seeds_that_both_variants_finished_count_and_two_are_too_few() -> None:
    result = compare(BEATS, [*_runs("fused", [0.5, 0.6, 0.7]), *_runs("single", [0.4, 0.4])])
    assert result.seeds == (0, 1)
    assert result.verdict == "inconclusive"
    assert compare(BEATS, _runs("fused", [0.5])).mean is None


def test_a_ratio_is_that_of_the_means_of_two_pairings() -> None:
    retention = Comparison(
        label="retention",
        first="fused",
        second="fused",
        second_pairing="symmetric",
        statistic="ratio",
        threshold=0.88,
    )
    runs = [_run("fused", seed, [0.45] * QUERIES, [0.5] * QUERIES) for seed in range(3)]
    result = compare(retention, runs)
    assert result.mean == pytest.approx(0.9)
    assert result.verdict == "holds"


def test_runs_with_different_queries_are_not_compared() -> None:
    with pytest.raises(RunsNotComparableError, match="40 queries, but 39"):
        compare(BEATS, [*_runs("fused", [0.5] * 3), *_runs("single", [0.4] * 3, queries=39)])
    mixed = [*_runs("fused", [0.5]), _run("fused", 1, [0.5] * 39), *_runs("single", [0.4] * 2)]
    with pytest.raises(RunsNotComparableError, match="different numbers"):
        compare(BEATS, mixed)


@pytest.mark.parametrize(
    ("per_seed", "low", "high", "verdict"),
    [
        ((0.0, 0.1, 0.1), 0.01, 0.2, "inconclusive"),
        ((0.1, 0.1, 0.1), 0.0, 0.2, "inconclusive"),
        ((-0.1, -0.1, -0.1), -0.2, 0.0, "inconclusive"),
        ((-0.1, -0.1, -0.1), -0.2, -0.01, "fails"),
    ],
)
def test_a_statistic_at_the_threshold_is_inconclusive(
    per_seed: tuple[float, ...], low: float, high: float, verdict: str
) -> None:
    assert judge(per_seed, low, high, threshold=0.0) == verdict


def test_a_run_whose_map_is_not_the_mean_of_its_queries_is_rejected() -> None:
    document = _run("fused", 0, [0.5] * QUERIES).model_dump()
    document["scores"]["asymmetric"]["map"] = 0.6
    with pytest.raises(ValidationError, match="not the mean"):
        RunResult.model_validate(document)
