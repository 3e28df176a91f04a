"""Figures bear the names of the field."""

from __future__ import annotations

import pytest

from aff_toolkit.evaluation.report.figure_names import figure_name


@pytest.mark.parametrize(
    ("key", "name"), [("map", "mAP"), ("map_at_100", "mAP@100"), ("recall_at_1", "R@1"), ("mp_at_5", "mP@5")]
)
def test_a_key_has_its_name(key: str, name: str) -> None:
    assert figure_name(key) == name
