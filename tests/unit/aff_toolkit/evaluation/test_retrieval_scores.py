import numpy as np
import pytest

from aff_toolkit.evaluation.retrieval_scores import average_precision, score_embeddings, score_rankings


def ranking(text: str) -> np.ndarray:
    return np.array([letter == "+" for letter in text])


def test_average_precision_by_hand() -> None:
    assert average_precision(ranking("+-+-"), 2) == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_a_positive_that_was_not_found_counts_as_zero() -> None:
    assert average_precision(ranking("-+"), 4) == pytest.approx((1 / 2) / 4)


def test_a_cutoff_limits_ranks_and_denominator() -> None:
    assert average_precision(ranking("+-+"), 3, cutoff=2) == pytest.approx((1 / 1) / 2)


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
        assert average_precision(relevant, int(relevant.sum())) == pytest.approx(expected)


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
