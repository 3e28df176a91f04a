"""Modes and baselines bear plain names."""

from __future__ import annotations

from aff_toolkit.evaluation.evaluation_config import PAIRINGS
from aff_toolkit.evaluation.report.method_names import method_name


def test_every_row_of_a_report_has_a_name_and_a_baseline_its_dimension() -> None:
    assert [method_name(method) for method in PAIRINGS] == [
        "asymmetric",
        "symmetric",
        "light only (query encoder on both sides)",
        "colour histogram, 512-d",
        "RootSIFT + VLAD, 8,192-d",
    ]
