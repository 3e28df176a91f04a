"""Photographs that resemble each other become one instance."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from aff_toolkit.training.engine import pseudo_instances
from aff_toolkit.training.engine.pseudo_instances import group_photographs, name_pseudo_instances


def directions(*degrees: float) -> NDArray[np.float32]:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def partition(groups: NDArray[np.int64]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups)}


def test_neighbours_above_the_bound_are_grouped_and_the_others_are_alone() -> None:
    groups = group_photographs(directions(0, 5, 90, 95, 200), 2, min_similarity=np.cos(np.deg2rad(10)))
    assert partition(groups) == {frozenset({0, 1}), frozenset({2, 3}), frozenset({4})}


def test_a_chain_is_cut_where_its_ends_resemble_each_other_no_more() -> None:
    # 0 and 23 degrees hang together by neighbours; the mean cosine of the two halves is below the bound.
    groups = group_photographs(directions(0, 7, 16, 23), 2, min_similarity=np.cos(np.deg2rad(10)))
    assert partition(groups) == {frozenset({0, 1}), frozenset({2, 3})}


def test_a_neighbour_that_has_nearer_ones_itself_does_not_count() -> None:
    # The nearest neighbour of 6 degrees is 3 degrees, whose own nearest is 2 degrees.
    groups = group_photographs(directions(0, 2, 3, 6.5), 1, min_similarity=0.9)
    assert partition(groups) == {frozenset({0}), frozenset({1, 2}), frozenset({3})}


@pytest.mark.parametrize("limit", [3, 2000])
def test_a_component_too_large_for_linkage_is_cut_by_a_stricter_bound(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(pseudo_instances, "_MOST_LINKED", limit)
    groups = group_photographs(directions(0, 1, 2, 30, 31, 32), 5, min_similarity=0.6)
    expected = {frozenset({0, 1, 2}), frozenset({3, 4, 5})} if limit == 3 else {frozenset(range(6))}
    assert partition(groups) == expected


def test_thousands_of_equal_photographs_are_grouped_in_finite_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudo_instances, "_MOST_LINKED", 4)
    groups = group_photographs(directions(*[7.0] * 10), 9, min_similarity=0.5)
    assert sorted(len(members) for members in partition(groups)) == [2, 4, 4]


def test_a_photograph_that_is_alone_is_a_separate_instance() -> None:
    assert name_pseudo_instances(["a.jpg", "b.jpg", "c.jpg"], np.array([4, 0, 4])) == ["group-4", "b.jpg", "group-4"]
