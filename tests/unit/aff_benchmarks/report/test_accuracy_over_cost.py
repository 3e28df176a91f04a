"""Accuracy against query cost, with ratios within each encoder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from aff_benchmarks.report import accuracy_over_cost as module
from aff_benchmarks.report.accuracy_over_cost import PLOT, EncoderFigures, accuracy_over_cost
from aff_benchmarks.report.section import BenchContext, Section
from aff_benchmarks.report.trained_encoders import EncoderScore, EncoderTrainings
from tests.support.tiny_bundle import TINY_BUNDLE

MAPS = {
    ("residual-16", "aff"): (0.6, 0.8),
    ("residual-16", "fused_regression"): (0.5, 0.5),
    ("residual-16", "single_feature"): (0.3, 0.2),
    ("residual-16", "light_only"): (0.8, 0.8),
    ("residual-8", "aff"): (0.4, 0.4),
    ("residual-8", "fused_regression"): (0.4, 0.5),
    ("residual-8", "single_feature"): (0.2, 0.4),
    ("residual-8", "light_only"): (0.5, 0.5),
}
COSTS = {"residual-8": 4.0, "residual-16": 16.0}


def _costs(name: str, *, size: int, dimension: int, threads: int) -> EncoderFigures:
    cost = COSTS[name]
    return EncoderFigures(
        name=name,
        parameters=1000,
        mflop=cost,
        onnx_mb=1,
        latency_ms=cost / 10,
        size=size,
        dimension=dimension,
        threads=1,
    )


@pytest.fixture
def section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Section:
    scores = [EncoderScore(name, way, seed, maps[seed]) for (name, way), maps in MAPS.items() for seed in (0, 1)]  # type: ignore[arg-type]
    monkeypatch.setattr(module, "_TRAININGS", EncoderTrainings(backbones=("residual-16", "residual-8"), seeds=(0, 1)))
    monkeypatch.setattr(module, "measure_encoder", _costs)
    monkeypatch.setattr(module, "train_encoders", lambda *_: (SimpleNamespace(), scores))
    monkeypatch.setattr(module, "gallery_references", lambda _: {"aff": 0.8, "single_feature": 0.7})
    return accuracy_over_cost(BenchContext(TINY_BUNDLE, tmp_path, 2, 10, (), None, tmp_path))


def test_ratios_are_taken_within_an_encoder_and_a_seed(section: Section) -> None:
    fused, single = section.figures["aff_over_fused_regression"], section.figures["aff_over_single_feature"]
    assert (fused.median, fused.low, fused.high, fused.repetitions) == pytest.approx((1.1, 0.8, 1.6, 4))
    assert (single.median, single.met) == (2.0, True)
    assert section.figures["aff_over_light_only"].met is False
    assert section.figures["aff_over_mixer_on_both_sides"].median == pytest.approx(0.625)


def test_a_more_accurate_gallery_without_fusion_has_a_note() -> None:
    assert module._note("single_feature", {"aff": 0.92, "single_feature": 0.95}).startswith(
        "On both sides, this bundle's single feature"
    )
    assert module._note("single_feature", {"aff": 0.95, "single_feature": 0.92}) == ""
    assert module._note("light_only", {"aff": 0.95, "single_feature": 0.92}) == ""


def test_the_cheapest_encoder_is_listed_first_with_its_means(section: Section) -> None:
    (table,) = section.tables
    assert table.rows[0] == [
        "residual-8",
        "1,000",
        "4",
        "0.40",
        "40.0 ± 0.0",
        "45.0 ± 7.1",
        "30.0 ± 14.1",
        "50.0 ± 0.0",
    ]
    assert table.rows[1][4] == "70.0 ± 14.1"
    assert "80.0 (AFF)" in table.title


def test_the_section_has_a_plot_and_its_settings(section: Section, tmp_path: Path) -> None:
    assert (tmp_path / PLOT).read_text().startswith("<?xml")
    assert section.settings["seeds"] == [0, 1]
    assert len(section.details["scores"]) == 16
