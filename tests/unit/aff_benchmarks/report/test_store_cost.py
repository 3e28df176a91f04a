"""The store, compared with searches without a store at equal recall."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_benchmarks.report import store_cost as module
from aff_benchmarks.report.section import BenchContext
from tests.support.tiny_bundle import TINY_BUNDLE


def test_the_section_measures_every_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WRITTEN", 300)
    monkeypatch.delenv("QDRANT_URL", raising=False)
    section = module.store_cost(BenchContext(TINY_BUNDLE, tmp_path, 2, 10, (200, 400), None, tmp_path))
    assert section.figures["recall_at_10_float32"].median == 1.0
    assert section.figures["ours_p50_over_faiss"].repetitions == 2
    assert section.figures["upserts_per_s"].median > 0
    searches, writes = section.tables
    assert [row[1].split(",")[0] for row in searches.rows] == ["ours", "ours", "ours", "numpy", "faiss HNSW"] * 2
    assert [row[0] for row in writes.rows] == ["embedded"]
    assert "was not measured" in section.text
    assert (tmp_path / "store.svg").read_text().startswith("<?xml")
