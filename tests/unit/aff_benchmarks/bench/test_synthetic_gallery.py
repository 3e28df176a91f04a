"""Searches in synthetic galleries without a store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from aff_benchmarks.bench.synthetic_gallery import (
    exact_neighbours,
    faiss_search,
    numpy_search,
    synthetic_embeddings,
    synthetic_points,
    synthetic_queries,
    write_points,
)
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.settings import StoreSettings


def test_exact_neighbours_match_a_slow_loop() -> None:
    rng = np.random.default_rng(3)
    chunks = [rng.standard_normal((size, 5)).astype(np.float32) for size in (7, 1, 20)]
    queries = rng.standard_normal((4, 5)).astype(np.float32)
    vectors = [vector for chunk in chunks for vector in chunk]
    expected = [
        sorted(range(len(vectors)), key=lambda row, query=query: -float(sum(query * vectors[row])))[:6]  # type: ignore[misc]
        for query in queries
    ]
    assert exact_neighbours(chunks, queries, 6).tolist() == expected


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


def test_searches_are_answered_while_the_graph_is_built(tmp_path: Path) -> None:
    settings = StoreSettings(url="", edge_path=tmp_path / "gallery", indexing_threshold_kb=1)
    space = EmbeddingSpace(id="0" * 64, dimension=16)
    queries = synthetic_queries(400, 16, 3)
    latencies = asyncio.run(write_points(settings, space, synthetic_points(16, 400), queries))
    assert latencies
    assert min(latencies) > 0
