from __future__ import annotations

import numpy as np
import pytest

from aff_toolkit.evaluation.relevance import Relevance
from aff_toolkit.evaluation.retrieval_scores import (
    average_precision_at,
    bootstrap_interval,
    difference,
    score_embeddings,
    score_rankings,
    score_relevance,
)


def ranking(text: str) -> np.ndarray:
    return np.array([letter == "+" for letter in text])


def test_average_precision_by_hand() -> None:
    assert average_precision_at(np.flatnonzero(ranking("+-+-")), 2) == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_a_positive_that_was_not_found_counts_as_zero() -> None:
    assert average_precision_at(np.flatnonzero(ranking("-+")), 4) == pytest.approx((1 / 2) / 4)


def test_a_cutoff_limits_ranks_and_denominator() -> None:
    assert average_precision_at(np.flatnonzero(ranking("+-+")), 3, cutoff=2) == pytest.approx((1 / 1) / 2)


def slow_average_precision(relevant: list[bool]) -> float:
    total, found = 0.0, 0
    for rank, is_relevant in enumerate(relevant, start=1):
        if is_relevant:
            found += 1
            total += found / rank
    return total / sum(relevant)


def test_average_precision_equals_a_slow_loop_on_random_rankings() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        relevant = rng.random(60) < 0.2
        relevant[rng.integers(60)] = True
        expected = slow_average_precision(relevant.tolist())
        assert average_precision_at(np.flatnonzero(relevant), int(relevant.sum())) == pytest.approx(expected)


def test_queries_without_positives_are_left_out() -> None:
    scores = score_rankings([ranking("+-"), ranking("--")], [1, 0], gallery=2)
    assert scores.queries == 1
    assert scores.map == 1.0


def test_scoring_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no query"):
        score_rankings([ranking("--")], [0], gallery=2)


def test_recall_counts_queries_with_a_positive_among_the_first_k() -> None:
    scores = score_rankings([ranking("+---------"), ranking("-----+----")], [1, 1], gallery=10)
    assert (scores.recall_at_1, scores.recall_at_5, scores.recall_at_10) == (0.5, 0.5, 1.0)


def test_embeddings_are_ranked_by_cosine_similarity() -> None:
    queries = np.array([[1, 0]], dtype=np.float32)
    gallery = np.array([[0, 1], [0.6, 0.8], [0.8, 0.6]], dtype=np.float32)
    scores = score_embeddings(queries, gallery, ["cat"], ["dog", "cat", "bird"])
    assert scores.map == pytest.approx(1 / 2)
    assert scores.gallery == 3


def test_junk_is_taken_out_of_the_ranking_before_it_is_scored() -> None:
    # The ranking is 3, 2, 1, 0; without the junk 3 and 1 it is 2, 0, and the positive 0 has rank 2.
    gallery = np.array([[0.0, 1.0], [0.6, 0.8], [0.8, 0.6], [1.0, 0.0]], dtype=np.float32)
    scores = score_relevance(np.array([[1, 0]], np.float32), gallery, Relevance.of([[0]], [[3, 1]]))
    assert scores.map == pytest.approx(1 / 2)
    assert (scores.recall_at_1, scores.recall_at_5, scores.gallery) == (0.0, 1.0, 4)


def test_positives_and_junk_are_scored_as_by_a_slow_loop() -> None:
    rng = np.random.default_rng(1)
    queries, gallery = (rng.standard_normal((rows, 5)).astype(np.float32) for rows in (8, 40))
    kinds = rng.integers(0, 4, size=(8, 40))  # 0 positive, 1 junk
    kinds[0] = 2  # a query without positives, which is left out
    precisions, firsts = [], []
    for query, kind in zip(queries, kinds, strict=True):
        if 0 not in kind:
            continue
        ranking = sorted(range(40), key=lambda row: -float(query @ gallery[row]))
        relevant = [kind[row] == 0 for row in ranking if kind[row] != 1]
        precisions.append(slow_average_precision(relevant))
        firsts.append(relevant[0])
    lists = [[np.flatnonzero(kind == wanted).tolist() for kind in kinds] for wanted in (0, 1)]
    scores = score_relevance(queries, gallery, Relevance.of(*lists))
    assert scores.map == pytest.approx(np.mean(precisions))
    assert scores.recall_at_1 == pytest.approx(np.mean(firsts))
    assert scores.queries == len(precisions)


def test_a_constant_difference_is_sure() -> None:
    second = np.linspace(0.1, 0.5, 20)
    assert bootstrap_interval(second + 0.2, second, difference) == pytest.approx((0.2, 0.2))


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    first = np.array([1.0, 0.0] * 200)
    low, high = bootstrap_interval(first, np.zeros(400), difference)
    assert low == pytest.approx(0.5 - 1.96 * 0.5 / 20, abs=0.01)
    assert high == pytest.approx(0.5 + 1.96 * 0.5 / 20, abs=0.01)


def test_queries_for_one_thing_count_as_one_draw() -> None:
    first = np.repeat([1.0, 0.0, 1.0, 0.0], 100)
    things = [str(number // 100) for number in range(400)]
    low, high = bootstrap_interval(first, np.zeros(400), difference, groups=things)
    assert (low, high) == (0.0, 1.0)  # four draws: none or all of them with the figure of 1 in every sixteenth sample


def test_things_with_more_queries_weigh_more() -> None:
    first, things = np.array([1.0] * 30 + [0.0] * 10), ["a"] * 30 + ["b"] * 10
    low, high = bootstrap_interval(first, np.zeros(40), difference, groups=things)
    assert (low, high) == (0.0, 1.0)
    assert bootstrap_interval(first, first - 0.25, difference, groups=things) == pytest.approx((0.25, 0.25))
