"""What counts as found, by instances."""

from __future__ import annotations

from aff_toolkit.evaluation.relevance import Relevance, relevance_of_instances, rows_by_instance


def test_gallery_images_of_the_querys_instance_are_its_positives_and_nothing_is_junk() -> None:
    found = relevance_of_instances(["apple", "fig", "pear"], ["pear", "apple", "plum", "apple"])
    assert [rows.tolist() for rows in found.relevant] == [[1, 3], [], [0]]
    assert [rows.tolist() for rows in found.ignored] == [[], [], []]


def test_rows_come_in_ascending_order_each_once() -> None:
    found = Relevance.of([[4, 1, 4], []], [{3, 2}, {0}])
    assert [rows.tolist() for rows in found.relevant] == [[1, 4], []]
    assert [rows.tolist() for rows in found.ignored] == [[2, 3], [0]]
    assert rows_by_instance(["b", "a", "b"]) == {"b": [0, 2], "a": [1]}
