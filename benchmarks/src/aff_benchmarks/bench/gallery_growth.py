"""What a vector search costs, and what it misses, as a gallery grows and its vectors are compressed."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from aff_benchmarks.bench.exact_neighbours import mean_recall
from aff_benchmarks.bench.synthetic_gallery import collection_directory, synthetic_queries, write_gallery
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.embedded.edge_gallery import EdgeGallery
from aff_shared.store.settings import Quantization, StoreSettings

GROWTH_QUANTIZATIONS: tuple[Quantization, ...] = ("none", "int8", "turbo4")
_HITS = 10
_QUERIES = 200


class GrowthPoint(BaseModel):
    """Searches of an embedded gallery of one size, with the store's own settings for everything else.

    Attributes:
        images: Of the gallery.
        quantization: Of its vectors, as `QDRANT_QUANTIZATION` names it.
        recall_at_10: Mean share of the ten nearest vectors, by exact search, that are among the ten hits.
        p50_ms: Of a vector search.
        passes_p50_ms: The same of each pass over the queries.
        p99_ms: Of a vector search.
        exact_p50_ms: Of a search that compares every vector.
        disk_mb: Of the collection with its graph, in MiB.
        built_s: Seconds that writing it and building its graph took.
    """

    model_config = ConfigDict(frozen=True)

    images: int
    quantization: Quantization
    recall_at_10: float
    p50_ms: float
    passes_p50_ms: list[float]
    p99_ms: float
    exact_p50_ms: float
    disk_mb: float
    built_s: float


def measure_growth(
    dimension: int,
    sizes: Sequence[int],
    quantizations: Sequence[Quantization] = GROWTH_QUANTIZATIONS,
    *,
    passes: int = 1,
) -> list[GrowthPoint]:
    """Measure galleries of synthetic embeddings, one after another; each is searched with vectors that it lacks.

    Args:
        dimension: D of the embeddings.
        sizes: Images of the galleries.
        quantizations: Of each of them.
        passes: Over the queries.
    """
    return [_measure(dimension, size, quantization, passes) for size in sizes for quantization in quantizations]


def _measure(dimension: int, size: int, quantization: Quantization, passes: int) -> GrowthPoint:
    space = EmbeddingSpace(id="0" * 64, dimension=dimension)
    queries = synthetic_queries(size, dimension, _QUERIES)
    with tempfile.TemporaryDirectory() as directory:
        settings = StoreSettings(url="", edge_path=Path(directory) / "gallery", quantization=quantization)
        began = time.perf_counter()
        write_gallery(settings, space, size)
        built_s = time.perf_counter() - began
        collection = collection_directory(settings.edge_path)
        with closing(EdgeGallery(collection, settings)) as gallery:
            for query in queries:  # what is read for the first time is read from the disk
                _search(gallery, query, exact=False)
            runs = [[_search(gallery, query, exact=False) for query in queries] for _ in range(passes)]
            nearest = [_search(gallery, query, exact=True) for query in queries]
        files = [file for file in collection.rglob("*") if file.is_file()]
        latencies = [ms for run in runs for _, ms in run]
        return GrowthPoint(
            images=size,
            quantization=quantization,
            recall_at_10=mean_recall([ids for ids, _ in runs[0]], [ids for ids, _ in nearest]),
            p50_ms=statistics.median(latencies),
            passes_p50_ms=[statistics.median(ms for _, ms in run) for run in runs],
            p99_ms=float(np.percentile(latencies, 99)),
            exact_p50_ms=statistics.median(ms for _, ms in nearest),
            disk_mb=sum(512 * file.stat().st_blocks for file in files) / 2**20,
            built_s=built_s,
        )


def _search(gallery: EdgeGallery, query: NDArray[np.float32], *, exact: bool) -> tuple[set[str], float]:
    """Return the ids of the hits, and the milliseconds that they took."""
    began = time.perf_counter()
    hits = gallery.search(query, limit=_HITS, exact=exact)
    return {hit.record.item_id for hit in hits}, 1000 * (time.perf_counter() - began)
