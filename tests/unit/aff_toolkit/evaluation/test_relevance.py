"""What counts as found, by instances."""

from __future__ import annotations

from aff_toolkit.evaluation.relevance import Relevance, leave_one_out, relevance_of_instances, rows_by_instance


def test_gallery_images_of_the_querys_instance_are_its_positives_and_nothing_is_junk() -> None:
    found = relevance_of_instances(["apple", "fig", "pear"], ["pear", "apple", "plum", "apple"])
    assert [rows.tolist() for rows in found.relevant] == [[1, 3], [], [0]]
    assert [rows.tolist() for rows in found.ignored] == [[], [], []]


def test_rows_come_in_ascending_order_each_once() -> None:
    found = Relevance.of([[4, 1, 4], []], [{3, 2}, {0}])
    assert [rows.tolist() for rows in found.relevant] == [[1, 4], []]
    assert [rows.tolist() for rows in found.ignored] == [[2, 3], [0]]
    assert rows_by_instance(["b", "a", "b"]) == {"b": [0, 2], "a": [1]}


def test_each_photograph_that_has_others_of_its_instance_is_left_out_of_the_gallery_once() -> None:
    asked, listed = leave_one_out(["fig", "pear", "fig", "fig"])
    assert asked == [0, 2, 3]
    assert [rows.tolist() for rows in listed.relevant] == [[2, 3], [0, 3], [0, 2]]
    assert [rows.tolist() for rows in listed.ignored] == [[0], [2], [3]]
