"""Figures bear the names of the field."""

from __future__ import annotations

import pytest

from aff_toolkit.evaluation.evaluation_record import PAIRINGS
from aff_toolkit.evaluation.report.evaluation_report import figure_name, method_name


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
