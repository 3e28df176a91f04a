"""Accuracy by seed, compared with the best baseline, and step by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aff_benchmarks.report import accuracy as module
from aff_benchmarks.report.accuracy import read_ablation
from aff_benchmarks.report.live_steps import Step
from aff_benchmarks.report.section import BenchContext


def _variant(*asymmetric: float, symmetric: float) -> dict[str, Any]:
    maps = {"asymmetric": asymmetric, "symmetric": [symmetric] * len(asymmetric), "light_only": asymmetric}
    return {"seeds": list(range(len(asymmetric))), "map": maps}


def _write(path: Path, **variants: dict[str, Any]) -> None:
    not_run = {"seeds": [], "map": {}}
    path.write_text(json.dumps({"protocol": "p", "variants": {**variants, "orthogonal": not_run}}))


def test_a_cell_is_mean_and_deviation_in_percent(tmp_path: Path) -> None:
    _write(tmp_path / "scenes.json", full=_variant(0.3, 0.5, symmetric=0.8))
    result = read_ablation(tmp_path / "scenes.json")
    assert result is not None
    assert result.cell("full", "asymmetric") == "40.0 ± 14.1"
    assert "orthogonal" not in result.maps
    assert read_ablation(tmp_path / "nothing.json") is None


def test_aff_is_compared_with_the_best_baseline_seed_by_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(
        tmp_path / "scenes.json",
        full=_variant(0.3, 0.5, symmetric=0.8),
        raw_cnn_a_gem=_variant(0.2, 0.2, symmetric=0.5),
        single_cnn_a_gem=_variant(0.3, 0.25, symmetric=0.5),
        mlp=_variant(0.6, 0.5, symmetric=0.5),
    )
    steps = [
        Step("torch, float32", None, 0.8),
        Step("ONNX, float32", "torch, float32", 0.8),
        Step("ONNX, int8", "ONNX, float32", 0.6),
        Step("encoded in Chromium", "ONNX, float32", None, "not measured: Chromium is not installed"),
    ]
    monkeypatch.setattr(module, "live_steps", lambda *_: steps)
    section = module.accuracy(BenchContext(tmp_path, tmp_path, 1, 10, (), None, tmp_path))
    figures = section.figures
    single, fused = figures["aff_over_single_feature_scenes"], figures["aff_over_other_mixers_scenes"]
    assert (single.median, single.low, single.high, single.met) == (1.5, 1.0, 2.0, True)
    assert (fused.median, fused.met) == (0.75, False)
    assert "docs/results/ablation" in fused.note
    assert figures["asymmetric_over_symmetric_scenes"].median == pytest.approx(0.5)
    assert (figures["onnx_over_torch_scenes"].median, figures["onnx_over_torch_scenes"].met) == (1.0, True)
    assert figures["int8_over_onnx_scenes"].median == pytest.approx(0.75)
    assert "browser_over_onnx_scenes" not in figures
    _, path = section.tables
    assert path.rows[2][:4] == ["ONNX, int8", "60.00", "-20.00", "ONNX, float32"]
    assert path.rows[3] == ["encoded in Chromium", "", "", "ONNX, float32", "not measured: Chromium is not installed"]


@pytest.mark.slow
def test_the_papers_own_training_is_not_a_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(
        tmp_path / "grocery.json",
        full=_variant(0.4, 0.4, symmetric=0.8),
        single_cnn_a_gem=_variant(0.2, 0.4, symmetric=0.5),
        csd=_variant(0.5, 0.5, symmetric=0.5),
        **{"arcface_0.99": _variant(0.9, 0.9, symmetric=0.5)},
    )
    monkeypatch.setattr(module, "live_steps", lambda *_: [])
    figures = module.accuracy(BenchContext(tmp_path, tmp_path, 1, 10, (), None, tmp_path)).figures
    best, single = figures["aff_over_best_baseline_grocery"], figures["aff_over_single_feature_grocery"]
    assert (best.median, best.met) == (pytest.approx(0.8), False)
    assert best.note.startswith("best: csd. 33 instances")
    assert (single.median, single.note) == (1.5, "best: single_cnn_a_gem")
    assert "aff_over_other_mixers_grocery" not in figures
