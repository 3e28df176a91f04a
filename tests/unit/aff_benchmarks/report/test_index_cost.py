"""Indexing is held against the extractors alone and against a plain loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_benchmarks.report import throughput as module
from aff_benchmarks.report.section import BenchContext
from aff_benchmarks.report.throughput import PLOT, index_cost
from tests.support.tiny_bundle import TINY_BUNDLE


def test_all_three_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IMAGES", 4)
    section = index_cost(BenchContext(TINY_BUNDLE, tmp_path, 1, 10, (), None, tmp_path))
    assert all(figure.median > 0 for figure in section.figures.values())
    assert section.figures["throughput_over_bare"].goal == 0.9
    (ours,), (plain,) = section.details["ours"], section.details["plain_images_per_s"]
    assert section.figures["ours_over_plain_loop"].median == pytest.approx(ours["images_per_s"] / plain)
    assert [row[0] for row in section.tables[0].rows] == ["extractors alone", "ours", "plain loop"]
    assert (tmp_path / PLOT).read_text().startswith("<?xml")
