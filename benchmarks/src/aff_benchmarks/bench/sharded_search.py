"""What a search costs, and what it misses, when a gallery is divided into shards that are all searched."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from aff_benchmarks.bench.exact_neighbours import exact_neighbours, mean_recall
from aff_benchmarks.bench.merge_hits import merge_hits
from aff_benchmarks.bench.synthetic_gallery import (
    collection_directory,
    synthetic_embeddings,
    synthetic_item_id,
    synthetic_queries,
    write_gallery,
)
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.embedded.edge_gallery import EdgeGallery
from aff_shared.store.gallery_store import GalleryHit
from aff_shared.store.settings import Quantization, StoreSettings

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
