"""The store, compared with searches without a store at equal recall."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aff_benchmarks.bench.synthetic_gallery import (
    exact_neighbours,
    faiss_search,
    numpy_search,
    synthetic_embeddings,
    synthetic_queries,
)
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


def test_baselines_find_the_nearest_vectors() -> None:
    vectors = np.concatenate(list(synthetic_embeddings(500, 32, seed=0)))
    queries = synthetic_queries(500, 32, 20)
    nearest = exact_neighbours([vectors], queries, 10)
    assert numpy_search(vectors, queries, nearest, 1).recall_at_10 == 1.0
    found = faiss_search(vectors, queries, nearest, 3, recall=0.9)
    assert found.recall_at_10 >= 0.9
    assert (len(found.passes_p50_ms), found.ef > 0) == (3, True)


def test_a_higher_recall_requires_a_larger_ef() -> None:
    vectors = np.concatenate(list(synthetic_embeddings(3000, 64, seed=0)))
    queries = synthetic_queries(3000, 64, 30)
    nearest = exact_neighbours([vectors], queries, 10)
    low, high = (faiss_search(vectors, queries, nearest, 1, recall=recall) for recall in (0.2, 1.0))
    assert low.ef < high.ef
