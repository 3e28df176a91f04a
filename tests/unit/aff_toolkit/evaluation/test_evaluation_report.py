"""Figures bear the names of the field."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aff_toolkit.errors import NothingToScoreError
from aff_toolkit.evaluation.benchmark import Judgements
from aff_toolkit.evaluation.evaluation_record import PAIRINGS
from aff_toolkit.evaluation.evaluation_report import figure_name, method_name, precision_at_recall, score_setup
from aff_toolkit.evaluation.rankings import Rankings
from aff_toolkit.evaluation.relevance import Ragged


@pytest.mark.parametrize(
    ("key", "name"), [("map", "mAP"), ("map_at_100", "mAP@100"), ("recall_at_1", "R@1"), ("mp_at_5", "mP@5")]
)
def test_a_key_has_its_name(key: str, name: str) -> None:
    assert figure_name(key) == name


def test_every_row_of_a_report_has_a_name_and_a_baseline_its_dimension() -> None:
    assert [method_name(method) for method in PAIRINGS] == [
        "asymmetric",
        "symmetric",
        "light only (query encoder on both sides)",
        "colour histogram, 512-d",
        "RootSIFT + VLAD, 8,192-d",
    ]


def slow_map_at_100(rankings: list[list[int]], positives: list[set[int]]) -> float:
    """GLDv2: the mean over queries of 1 / min(m_q, 100) times the sum over k <= 100 of P_q(k) rel_q(k)."""
    total, queries = 0.0, 0
    for ranking, wanted in zip(rankings, positives, strict=True):
        if not wanted:
            continue
        queries += 1
        score = 0.0
        for k in range(1, min(len(ranking), 100) + 1):
            relevant = 1 if ranking[k - 1] in wanted else 0
            precision = sum(1 for row in ranking[:k] if row in wanted) / k
            score += precision * relevant
        total += score / min(len(wanted), 100)
    return total / queries


def rankings_of(orders: list[list[int]], labelled: list[list[int]]) -> Rankings:
    """Rankings that list every gallery image."""
    rows = Ragged.of(np.array(sorted(one), np.int64) for one in labelled)
    ranks = [order.index(row) for order, one in zip(orders, labelled, strict=True) for row in sorted(one)]
    scores = np.tile(-np.arange(len(orders[0]), dtype=np.float32), (len(orders), 1))
    return Rankings(np.array(orders), scores, rows, rows.with_values(np.array(ranks, np.int64)))


def judged(positives: list[list[int]], ignored: list[list[int]] | None = None) -> Judgements:
    nothing: list[list[int]] = [[] for _ in positives]
    return Judgements(
        "all",
        Ragged.of(np.array(one, np.int64) for one in positives),
        Ragged.of(np.array(one, np.int64) for one in ignored or nothing),
        np.ones(len(positives), np.bool_),
    )


@st.composite
def tied_rankings(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    """Rankings of up to 260 images by few different scores, equal ones by row, and positives, if any."""
    gallery = draw(st.sampled_from([3, 40, 130, 260]))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    orders, positives = [], []
    for share in draw(st.lists(st.sampled_from([0.0, 0.05, 0.5, 0.9]), min_size=1, max_size=4)):
        scores = rng.integers(0, 4, gallery)
        orders.append(sorted(range(gallery), key=lambda row, scores=scores: (-scores[row], row)))  # type: ignore[misc]
        positives.append(np.flatnonzero(rng.random(gallery) < share).tolist())
    return orders, positives


@given(tied_rankings())
def test_map_at_100_equals_gldv2_s_definition_written_out(case: tuple[list[list[int]], list[list[int]]]) -> None:
    orders, positives = case
    if not any(positives):
        with pytest.raises(NothingToScoreError):
            judged(positives)
        return
    found = score_setup(rankings_of(orders, positives), judged(positives), "mean_precision")
    assert found.figures["map_at_100"] == pytest.approx(slow_map_at_100(orders, [set(one) for one in positives]))
    assert found.queries == sum(1 for one in positives if one)
    assert found.left_out == sum(1 for one in positives if not one)


def test_more_positives_than_ranks_count_as_a_hundred() -> None:
    order = list(range(250))
    found = score_setup(rankings_of([order], [order[:150]]), judged([order[:150]]), "mean_precision")
    assert found.figures["map_at_100"] == 1.0
    behind = list(range(100, 250))
    found = score_setup(rankings_of([order], [behind]), judged([behind]), "mean_precision")
    assert found.figures["map_at_100"] == 0.0


def test_ignored_images_do_not_change_the_ranks() -> None:
    rankings = rankings_of([[3, 0, 1, 2]], [[0, 2, 3]])
    found = score_setup(rankings, judged([[0, 2]], [[3]]), "mean_precision")
    # Without image 3: positive, other, positive.
    assert found.figures["map"] == pytest.approx((1 + 2 / 3) / 2)
    assert found.figures["recall_at_1"] == 1.0


def test_a_query_that_could_not_be_read_scores_zero() -> None:
    rows = Ragged.of([np.array([0]), np.array([1])])
    rankings = Rankings(
        np.array([[0, 1], [-1, -1]]),
        np.array([[0.9, 0.8], [-np.inf, -np.inf]], np.float32),
        rows,
        rows.with_values(np.array([0, -1])),
        unreadable_queries={1: "broken"},
    )
    for rule in ("mean_precision", "trapezoid"):
        found = score_setup(rankings, judged([[0], [1]]), rule)  # type: ignore[arg-type]
        assert found.average_precisions == (1.0, 0.0)
        assert found.figures["map"] == 0.5
        assert found.queries == 2


def test_queries_of_another_setup_are_not_scored() -> None:
    rankings = rankings_of([[0, 1], [0, 1]], [[0], [1]])
    all_queries = judged([[0], [1]])
    first = Judgements("public", all_queries.relevant, all_queries.ignored, np.array([True, False]))
    found = score_setup(rankings, first, "mean_precision")
    assert (found.queries, found.left_out, found.average_precisions) == (1, 0, (1.0, None))


def test_the_curve_holds_the_best_precision_at_each_recall_or_above() -> None:
    # Ranks 2 and 3 of three positives: precisions 1/2 at recall 1/3 and 2/3 at recall 2/3; the third is not found.
    curve = precision_at_recall(np.array([1, 2]), 3)
    expected = [
        max([p for p, r in ((1 / 2, 1 / 3), (2 / 3, 2 / 3)) if r >= level / 100], default=0.0) for level in range(101)
    ]
    assert curve.tolist() == pytest.approx(expected)
    assert precision_at_recall(np.array([], np.int64), 3).tolist() == [0.0] * 101
