"""What a vector search costs, and what it misses, as a gallery grows and its vectors are compressed."""

from __future__ import annotations

import heapq
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from aff_benchmarks.bench.store_baselines import exact_neighbours, mean_recall
from aff_benchmarks.bench.synthetic_gallery import (
    collection_directory,
    synthetic_embeddings,
    synthetic_item_id,
    synthetic_queries,
    write_gallery,
)
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.embedded.shard import EdgeGallery
from aff_shared.store.gallery_store import GalleryHit
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


SHARD_COUNTS = (1, 2, 4, 8)
_HITS = 10
_QUERIES = 200
# With the service's own threshold the smallest shards would have no graph, and be compared with others that have one.
_INDEXING_THRESHOLD_KB = 1_000


class ShardingPoint(BaseModel):
    """Searches of a gallery in so many shards, each an embedded one with a graph of its own, one after the other.

    Attributes:
        shards: S.
        images: Of all shards together.
        quantization: Of the vectors, as `QDRANT_QUANTIZATION` names it.
        recall_at_10: Mean share of the ten nearest vectors of the whole gallery, by comparing every one, that are among
            the ten merged hits.
        shard_p50_ms: Of the search of one shard.
        parallel_p50_ms: Of the slowest shard of a search and the merge: what a search takes where every shard has a
            machine of its own, without the network.
        parallel_p99_ms: Likewise.
        serial_p50_ms: Of all shards together and the merge: the work of a search.
        merge_p50_ms: Of the merge.
        built_s: Seconds that writing the shards and building their graphs took.
    """

    model_config = ConfigDict(frozen=True)

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


def measure_sharding(
    dimension: int, images: int, shard_counts: Sequence[int] = SHARD_COUNTS, quantization: Quantization = "none"
) -> Iterator[ShardingPoint]:
    """Measure one gallery of synthetic embeddings in ever so many shards; it is searched with vectors that it lacks.

    Args:
        dimension: D of the embeddings.
        images: Of the gallery, at least ten.
        shard_counts: S of each division; every shard gets every S-th image.
        quantization: Of the vectors.
    """
    queries = synthetic_queries(images, dimension, _QUERIES)
    rows = exact_neighbours(synthetic_embeddings(images, dimension, seed=0), queries, _HITS)
    nearest = [{synthetic_item_id(row) for row in of_query} for of_query in rows]
    for shards in shard_counts:
        with tempfile.TemporaryDirectory() as directory, ExitStack() as opened:
            settings = StoreSettings(url="", quantization=quantization, indexing_threshold_kb=_INDEXING_THRESHOLD_KB)
            began = time.perf_counter()
            paths = _write_shards(Path(directory), settings, dimension, images, shards)
            built_s = time.perf_counter() - began
            galleries = [opened.enter_context(closing(EdgeGallery(path, settings))) for path in paths]
            for query in queries:  # what is read for the first time is read from the disk
                _search(galleries, query)
            found = [_search(galleries, query) for query in queries]
            yield _point(found, nearest, images, quantization, built_s)


@dataclass(frozen=True, slots=True)
class _Search:
    """The ids of the merged hits, and milliseconds."""

    ids: set[str]
    shards_ms: list[float]
    merge_ms: float


def _write_shards(directory: Path, settings: StoreSettings, dimension: int, images: int, shards: int) -> list[Path]:
    space = EmbeddingSpace(id="0" * 64, dimension=dimension)
    collections = []
    for shard in range(shards):
        path = directory / f"shard-{shard}"
        write_gallery(settings.model_copy(update={"edge_path": path}), space, images, shard=shard, shards=shards)
        collections.append(collection_directory(path))
    return collections


def _search(galleries: Sequence[EdgeGallery], query: NDArray[np.float32]) -> _Search:
    hits: list[list[GalleryHit]] = []
    moments = [time.perf_counter()]
    for gallery in galleries:
        hits.append(gallery.search(query, limit=_HITS))
        moments.append(time.perf_counter())
    merged = merge_hits(hits, _HITS)
    merge_ms = 1000 * (time.perf_counter() - moments[-1])
    ids = {hit.record.item_id for hit in merged}
    return _Search(ids, (1000 * np.diff(moments)).tolist(), merge_ms)


def _point(
    found: Sequence[_Search],
    nearest: Sequence[set[str]],
    images: int,
    quantization: Quantization,
    built_s: float,
) -> ShardingPoint:
    parallel = [max(search.shards_ms) + search.merge_ms for search in found]
    return ShardingPoint(
        shards=len(found[0].shards_ms),
        images=images,
        quantization=quantization,
        recall_at_10=mean_recall([search.ids for search in found], nearest),
        shard_p50_ms=statistics.median(ms for search in found for ms in search.shards_ms),
        parallel_p50_ms=statistics.median(parallel),
        parallel_p99_ms=float(np.percentile(parallel, 99)),
        serial_p50_ms=statistics.median(sum(search.shards_ms) + search.merge_ms for search in found),
        merge_p50_ms=statistics.median(search.merge_ms for search in found),
        built_s=built_s,
    )


def merge_hits(shards: Sequence[Sequence[GalleryHit]], limit: int) -> list[GalleryHit]:
    """Return the best `limit` hits of all shards, by falling score; of equal ones those of the earlier shard.

    Where every shard gave its own best `limit` hits, these are the best of the whole gallery.

    Args:
        shards: Hits of each shard, by falling score; a shard may have fewer than `limit`, or none.
        limit: Most hits that are wanted.
    """
    return list(islice(heapq.merge(*shards, key=lambda hit: hit.score, reverse=True), limit))
