"""Which queries the sheet shows."""

from __future__ import annotations

from aff_toolkit.evaluation.report.pictures import best_and_worst


def test_the_five_best_come_first_and_the_very_worst_last() -> None:
    averages = [0.5, None, 0.9, 0.1, 0.7, 0.3, 0.8, 0.2, 0.6, 0.4, 1.0, 0.0]
    assert best_and_worst(averages) == [10, 2, 6, 4, 8, 9, 5, 7, 3, 11]


def test_few_queries_are_shown_once_each_and_equal_ones_in_their_order() -> None:
    assert best_and_worst([0.0, 1.0, None, 1.0]) == [1, 3, 0]
