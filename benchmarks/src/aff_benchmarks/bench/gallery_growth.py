"""Latency and recall of the vector search, by gallery size, compression, and number of shards."""

from __future__ import annotations

import asyncio
import heapq
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aff_benchmarks.bench.measuring import resident_mib
from aff_benchmarks.bench.synthetic_gallery import (
    HITS,
    collection_directory,
    exact_neighbours,
    mean_recall,
    synthetic_embeddings,
    synthetic_item_id,
    synthetic_points,
    synthetic_queries,
    write_gallery,
    write_points,
)
from aff_benchmarks.records import FrozenModel
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.embedded.shard import EdgeGallery
from aff_shared.store.gallery_store import GalleryHit
from aff_shared.store.settings import Quantization, StoreSettings

SHARD_COUNTS = (1, 2, 4, 8)
QUANTIZATIONS: tuple[Quantization, ...] = ("none", "int8", "turbo4")
_QUERIES = 200
_SHARD_INDEXING_THRESHOLD_KB = 1_000  # with the default, small shards would be compared without a graph


class GrowthPoint(FrozenModel):
    """Searches in an embedded gallery of one size, with default settings but for the compression.

    Attributes:
        recall_at_10: Mean share of the ten nearest vectors, by exact search, among the ten hits.
        passes_p50_ms: Median latency by pass over the queries.
        building_p50_ms: Median latency of searches while the graph was built, in another process; 0 without a graph.
        building_p99_ms: Their 99th percentile.
        resident_mb: Memory that the opened gallery added to a new process, after the searches, in MiB.
        resident_anonymous_mb: The same without pages of files, in MiB.
        disk_mb: Disk usage of the collection with its graph, in MiB.
        built_s: Seconds to write the gallery and build its graph.
    """

    images: int
    quantization: Quantization
    recall_at_10: float
    p50_ms: float
    passes_p50_ms: list[float]
    p99_ms: float
    exact_p50_ms: float
    building_p50_ms: float
    building_p99_ms: float
    resident_mb: float
    resident_anonymous_mb: float
    disk_mb: float
    built_s: float


class ShardingPoint(FrozenModel):
    """Searches in a gallery that is divided into embedded shards, searched one after the other.

    Attributes:
        recall_at_10: Mean share of the ten nearest vectors of the whole gallery, by exact search, among the ten merged
            hits.
        parallel_p50_ms: Median latency of the slowest shard plus the merge: a search on one machine per shard, without
            the network.
        serial_p50_ms: Median latency of all shards plus the merge: the work of a search.
    """

    shards: int
    images: int
    quantization: Quantization
    recall_at_10: float
    shard_p50_ms: float
    parallel_p50_ms: float
    parallel_p99_ms: float
    serial_p50_ms: float
    merge_p50_ms: float
    built_s: float


def measure_growth(
    dimension: int, sizes: Sequence[int], *, passes: int = 1, quantizations: Sequence[Quantization] = QUANTIZATIONS
) -> list[GrowthPoint]:
    """Measure synthetic galleries of some sizes in some compressions, with queries that are not in the gallery."""
    return [_growth_point(dimension, size, quantization, passes) for size in sizes for quantization in quantizations]


def _growth_point(dimension: int, size: int, quantization: Quantization, passes: int) -> GrowthPoint:
    queries = synthetic_queries(size, dimension, _QUERIES)
    with tempfile.TemporaryDirectory() as directory:
        settings = StoreSettings(url="", edge_path=Path(directory) / "gallery", quantization=quantization)
        space = EmbeddingSpace(id="0" * 64, dimension=dimension)
        began = time.perf_counter()
        building = asyncio.run(write_points(settings, space, synthetic_points(dimension, size), queries))
        built_s = time.perf_counter() - began
        collection = collection_directory(settings.edge_path)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            searched = process.submit(_search_gallery, collection, settings, queries, passes).result()
        files = [file for file in collection.rglob("*") if file.is_file()]
        return GrowthPoint(
            images=size,
            quantization=quantization,
            building_p50_ms=statistics.median(building) if building else 0.0,
            building_p99_ms=float(np.percentile(building, 99)) if building else 0.0,
            disk_mb=sum(512 * file.stat().st_blocks for file in files) / 2**20,
            built_s=built_s,
            **searched,
        )


def _search_gallery(
    collection: Path, settings: StoreSettings, queries: NDArray[np.float32], passes: int
) -> dict[str, Any]:
    """Return the figures of searches, and of the memory that they need; runs in a separate process."""
    before = [resident_mib(os.getpid(), anonymous=anonymous) for anonymous in (False, True)]
    with closing(EdgeGallery(collection, settings)) as gallery:
        for query in queries:  # warms the page cache
            gallery.search(query, limit=HITS)
        runs = [[_search(gallery, query, exact=False) for query in queries] for _ in range(passes)]
        after = [resident_mib(os.getpid(), anonymous=anonymous) for anonymous in (False, True)]
        nearest = [_search(gallery, query, exact=True) for query in queries]
    latencies = [ms for run in runs for _, ms in run]
    return {
        "recall_at_10": mean_recall([ids for ids, _ in runs[0]], [ids for ids, _ in nearest]),
        "p50_ms": statistics.median(latencies),
        "passes_p50_ms": [statistics.median(ms for _, ms in run) for run in runs],
        "p99_ms": float(np.percentile(latencies, 99)),
        "exact_p50_ms": statistics.median(ms for _, ms in nearest),
        "resident_mb": after[0] - before[0],
        "resident_anonymous_mb": after[1] - before[1],
    }


def _search(gallery: EdgeGallery, query: NDArray[np.float32], *, exact: bool) -> tuple[set[str], float]:
    """Return the ids of the hits, and the milliseconds of the search."""
    began = time.perf_counter()
    hits = gallery.search(query, limit=HITS, exact=exact)
    return {hit.record.item_id for hit in hits}, 1000 * (time.perf_counter() - began)


def measure_sharding(
    dimension: int, images: int, shard_counts: Sequence[int] = SHARD_COUNTS, quantization: Quantization = "none"
) -> Iterator[ShardingPoint]:
    """Measure one synthetic gallery in several divisions, with queries that are not in it.

    Of S shards, shard s holds the images s, s + S, ...; there are at least ten images.
    """
    queries = synthetic_queries(images, dimension, _QUERIES)
    rows = exact_neighbours(synthetic_embeddings(images, dimension, seed=0), queries, HITS)
    nearest = [{synthetic_item_id(row) for row in of_query} for of_query in rows]
    settings = StoreSettings(url="", quantization=quantization, indexing_threshold_kb=_SHARD_INDEXING_THRESHOLD_KB)
    for shards in shard_counts:
        with tempfile.TemporaryDirectory() as directory, ExitStack() as opened:
            began = time.perf_counter()
            paths = _write_shards(Path(directory), settings, dimension, images, shards)
            built_s = time.perf_counter() - began
            galleries = [opened.enter_context(closing(EdgeGallery(path, settings))) for path in paths]
            for query in queries:  # warms the page cache
                _search_shards(galleries, query)
            found, shards_ms, merge_ms = zip(*(_search_shards(galleries, query) for query in queries), strict=True)
            slowest = np.max(shards_ms, axis=1) + merge_ms
            yield ShardingPoint(
                shards=shards,
                images=images,
                quantization=quantization,
                recall_at_10=mean_recall(found, nearest),
                shard_p50_ms=float(np.median(shards_ms)),
                parallel_p50_ms=float(np.median(slowest)),
                parallel_p99_ms=float(np.percentile(slowest, 99)),
                serial_p50_ms=float(np.median(np.sum(shards_ms, axis=1) + merge_ms)),
                merge_p50_ms=float(np.median(merge_ms)),
                built_s=built_s,
            )


def _write_shards(directory: Path, settings: StoreSettings, dimension: int, images: int, shards: int) -> list[Path]:
    space = EmbeddingSpace(id="0" * 64, dimension=dimension)
    collections = []
    for shard in range(shards):
        path = directory / f"shard-{shard}"
        write_gallery(settings.model_copy(update={"edge_path": path}), space, images, shard=shard, shards=shards)
        collections.append(collection_directory(path))
    return collections


def _search_shards(galleries: Sequence[EdgeGallery], query: NDArray[np.float32]) -> tuple[set[str], list[float], float]:
    """Return the ids of the merged hits, and the milliseconds of each shard and of the merge."""
    hits: list[list[GalleryHit]] = []
    moments = [time.perf_counter()]
    for gallery in galleries:
        hits.append(gallery.search(query, limit=HITS))
        moments.append(time.perf_counter())
    merged = merge_hits(hits, HITS)
    merge_ms = 1000 * (time.perf_counter() - moments[-1])
    return {hit.record.item_id for hit in merged}, (1000 * np.diff(moments)).tolist(), merge_ms


def merge_hits(shards: Sequence[Sequence[GalleryHit]], limit: int) -> list[GalleryHit]:
    """Return the best hits of all shards, by falling score; equal scores in the order of the shards.

    The result is the best of the whole gallery if every shard returned its best `limit` hits.
    """
    return list(islice(heapq.merge(*shards, key=lambda hit: hit.score, reverse=True), limit))
