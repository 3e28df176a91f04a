"""Indexing, training and feature extraction, compared with the networks alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aff_benchmarks.bench.bench_training import TrainingBenchSettings
from aff_benchmarks.report import throughput as module
from aff_benchmarks.report.section import BenchContext
from aff_benchmarks.report.throughput import CARDS, PLOT, index_cost, training_and_features
from tests.support.tiny_bundle import TINY_BUNDLE


def test_the_pipeline_is_compared_with_the_extractors_and_a_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_INDEXED_IMAGES", 4)
    section = index_cost(BenchContext(TINY_BUNDLE, tmp_path, 1, 10, (), None, tmp_path))
    assert all(figure.median > 0 for figure in section.figures.values())
    assert section.figures["throughput_over_bare"].goal == 0.9
    (ours,), (plain,) = section.details["ours"], section.details["plain_images_per_s"]
    assert section.figures["ours_over_plain_loop"].median == pytest.approx(ours["images_per_s"] / plain)
    assert [row[0] for row in section.tables[0].rows] == ["extractors alone", "ours", "plain loop"]
    assert (tmp_path / PLOT).read_text().startswith("<?xml")


RUN = {
    "card": "H9",
    "date": "2026-01-01",
    "command": "aff bench train",
    "what": "a step",
    "per_s": 30,
    "bare_per_s": 40,
}


def test_training_is_measured_here_and_gpu_runs_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXTRACTED_IMAGES", 8)
    few = {"rounds": 1, "steps": 1, "batch_size": 4, "train_size": 32}
    monkeypatch.setattr(module, "TrainingBenchSettings", lambda **_: TrainingBenchSettings.model_validate(few))
    (tmp_path / CARDS).write_text(json.dumps([RUN]))
    context = BenchContext(TINY_BUNDLE, tmp_path, 1, 10, (), None, tmp_path)
    section = training_and_features(context)
    assert 0 < section.figures["joint_step_over_query_step"].median < 1
    assert section.figures["extraction_images_per_s"].median > 0
    (table,) = section.tables
    assert table.rows == [["H9", "2026-01-01", "a step", "30", "40", "0.75"]]
    assert section.settings["device"] in ("cpu", "cuda")


def test_the_committed_gpu_runs_are_complete() -> None:
    runs = json.loads(Path("docs/results/bench/cards.json").read_text())
    assert len(runs) >= 4
    for run in runs:
        assert run["command"].split("aff bench ")[1].split()[0] in ("train", "features", "index")
        assert 0 < run["per_s"] < run["bare_per_s"]
