"""The cost of the store compared with searches without one."""

from __future__ import annotations

import asyncio
import secrets
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aff_benchmarks.bench.gallery_growth import GrowthPoint, measure_growth
from aff_benchmarks.bench.synthetic_gallery import (
    HITS,
    BaselineSearch,
    exact_neighbours,
    faiss_search,
    numpy_search,
    synthetic_embeddings,
    synthetic_point,
    synthetic_queries,
)
from aff_benchmarks.records import FrozenModel
from aff_benchmarks.report.section import (
    BenchContext,
    Figure,
    Section,
    Table,
    draw_line,
    figure,
    new_plot,
    ratio_of,
    save_plot,
)
from aff_shared.bundles.bundle import load_manifest
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_catalogue import open_catalogue
from aff_shared.store.gallery_store import GalleryStore
from aff_shared.store.settings import StoreSettings

_QUERIES = 200
_WRITTEN = 10_000
_BATCH = 128
_PLOT = "store.svg"
_TEXT = """
Clustered synthetic embeddings of the bundle's dimension; 200 queries that are not in the gallery, one after the other.
*Ours* is the service's embedded store: it filters, reads ids and payloads, and its files survive a crash; below
`QDRANT_INDEXING_THRESHOLD_KB` it has no graph and scans all vectors. *numpy* scans all vectors in memory. *faiss*
searches an HNSW graph in memory with the same m and ef_construct, and the smallest ef of a ladder that reaches our
recall. Both baselines return only row numbers. The engines are measured one after the other, not in turn: compare the
order of magnitude only. Near a recall of 0.999, one hit in a thousand changes faiss's time twofold.
"""
_FAISS = (
    "faiss returns row numbers from memory; ours reads payloads, supports filters, and creates Python objects per hit"
)


class StoreWrites(FrozenModel):
    """Durable writes per second, and the median latency of searches afterwards, one call after the other."""

    upserts_per_s: float
    p50_ms: float


@dataclass(frozen=True, slots=True)
class SizeCost:
    """The searches at one gallery size."""

    images: int
    ours: list[GrowthPoint]
    exact: BaselineSearch
    graph: BaselineSearch

    def details(self) -> dict[str, Any]:
        """Return all values for the JSON report."""
        ours = [point.model_dump() for point in self.ours]
        return {"images": self.images, "ours": ours, "numpy": asdict(self.exact), "faiss": asdict(self.graph)}


def store_cost(context: BenchContext) -> Section:
    """Compare stores by gallery size and compression, at equal recall."""
    dimension = load_manifest(context.bundle).space.dimension
    costs = [_measure(dimension, size, context.repetitions) for size in context.sizes]
    embedded, server = _writes(dimension, context.repetitions)
    rows = [row for cost in costs for row in _rows(cost)]
    writes = [
        [name, f"{one.upserts_per_s:,.0f}", f"{one.p50_ms:.2f} ms"]
        for name, runs in (("embedded", embedded), ("server", server))
        for one in runs[-1:]
    ]
    through = f"Writes, {_BATCH} images per call, and searches afterwards, through the store's Protocol"
    columns = ["images", "search", "recall@10", "p50", "p99", "p50 while building", "resident", "on disk", "build time"]
    tables = [
        Table(title="Searches", columns=columns, rows=rows),
        Table(title=through, columns=["store", "images/s", "p50 of a search"], rows=writes),
    ]
    _plot(costs, context.out / _PLOT)
    not_measured = "" if server else "\nA Qdrant server was not measured: `QDRANT_URL` is empty.\n"
    return Section(
        key="store",
        title="The store",
        text=_TEXT + not_measured,
        figures=_figures(max(costs, key=lambda cost: cost.images), embedded, server),
        tables=tables,
        plots=[_PLOT],
        settings={"dimension": dimension, "sizes": list(context.sizes), "queries": _QUERIES, "written": _WRITTEN},
        details={
            "sizes": [cost.details() for cost in costs],
            "writes": [one.model_dump() for one in [*embedded, *server]],
        },
    )


def _measure(dimension: int, size: int, passes: int) -> SizeCost:
    ours = measure_growth(dimension, [size], passes=passes)
    vectors = np.concatenate(list(synthetic_embeddings(size, dimension, seed=0)))
    queries = synthetic_queries(size, dimension, _QUERIES)
    nearest = exact_neighbours([vectors], queries, HITS)
    exact = numpy_search(vectors, queries, nearest, passes)
    graph = faiss_search(vectors, queries, nearest, passes, recall=ours[0].recall_at_10)
    return SizeCost(size, ours, exact, graph)


def _writes(dimension: int, repetitions: int) -> tuple[list[StoreWrites], list[StoreWrites]]:
    queries = synthetic_queries(_WRITTEN, dimension, _QUERIES)
    embedded = []
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as directory:
            settings = StoreSettings(url="", edge_path=Path(directory) / "gallery")
            embedded.append(asyncio.run(measure_store(settings, _WRITTEN, queries)))
    if not StoreSettings().url:
        return embedded, []
    return embedded, [asyncio.run(measure_store(StoreSettings(), _WRITTEN, queries)) for _ in range(repetitions)]


async def measure_store(settings: StoreSettings, images: int, queries: NDArray[np.float32]) -> StoreWrites:
    """Write synthetic embeddings into a new collection that is not live, search it with (Q, D) queries, and drop it.

    Raises:
        StoreError: The store is unavailable, or rejects a request.
    """
    space = EmbeddingSpace(id="0" * 64, dimension=queries.shape[1])
    collection = f"aff-bench-{secrets.token_hex(4)}"
    catalogue = await open_catalogue(settings.model_copy(update={"collection": collection}))
    store = await catalogue.collection(space)
    try:
        await store.create(space)
        upserts_per_s = images / await _write(store, images, space.dimension)
        p50_ms = statistics.median([await _search(store, query) for query in queries])
    finally:
        await catalogue.drop(space.id)
        await catalogue.close()
    return StoreWrites(upserts_per_s=upserts_per_s, p50_ms=p50_ms)


async def _write(store: GalleryStore, images: int, dimension: int) -> float:
    """Return the seconds of the writes."""
    seconds, written = 0.0, 0
    for vectors in synthetic_embeddings(images, dimension, seed=0):
        points = [synthetic_point(written + row, vector) for row, vector in enumerate(vectors)]
        written += len(points)
        for start in range(0, len(points), _BATCH):
            began = time.perf_counter()
            await store.upsert(points[start : start + _BATCH])
            seconds += time.perf_counter() - began
    return seconds


async def _search(store: GalleryStore, query: NDArray[np.float32]) -> float:
    began = time.perf_counter()
    await store.search(query, limit=HITS)
    return 1000 * (time.perf_counter() - began)


def _figures(largest: SizeCost, embedded: Sequence[StoreWrites], server: Sequence[StoreWrites]) -> dict[str, Figure]:
    by_name = {point.quantization: point for point in largest.ours}
    plain, int8 = by_name["none"], by_name["int8"]
    figures = {
        "ours_p50_over_faiss": ratio_of(plain.passes_p50_ms, largest.graph.passes_p50_ms, note=_FAISS),
        "numpy_p50_over_ours": ratio_of(largest.exact.passes_p50_ms, plain.passes_p50_ms, at_least=1.0),
        "int8_p50_over_float32": ratio_of(int8.passes_p50_ms, plain.passes_p50_ms),
        "recall_at_10_float32": figure([plain.recall_at_10], at_least=0.99),
        "recall_at_10_int8": figure([int8.recall_at_10], at_least=0.99),
        "recall_at_10_turbo4": figure([by_name["turbo4"].recall_at_10]),
        "upserts_per_s": figure([one.upserts_per_s for one in embedded], unit="images/s"),
    }
    if server:
        figures["server_upserts_over_embedded"] = ratio_of(
            [one.upserts_per_s for one in server], [one.upserts_per_s for one in embedded]
        )
    return figures


def _name(point: GrowthPoint) -> str:
    return f"ours, {'float32' if point.quantization == 'none' else point.quantization}"


def _rows(cost: SizeCost) -> list[list[str]]:
    rows = [
        [
            f"{cost.images:,}",
            _name(point),
            f"{point.recall_at_10:.4f}",
            f"{point.p50_ms:.2f} ms",
            f"{point.p99_ms:.2f} ms",
            f"{point.building_p50_ms:.1f} ms",
            f"{point.resident_mb:.0f} MiB",
            f"{point.disk_mb:.0f} MiB",
            f"{point.built_s:.0f} s",
        ]
        for point in cost.ours
    ]
    graph = cost.graph
    for name, baseline in (("numpy, every vector", cost.exact), (f"faiss HNSW, ef {graph.ef}", graph)):
        p50 = float(np.median(baseline.passes_p50_ms))
        built = f"{baseline.built_s:.0f} s" if baseline.ef else ""
        rows.append(
            [f"{cost.images:,}", name, f"{baseline.recall_at_10:.4f}", f"{p50:.2f} ms", "", "", "", "in memory", built]
        )
    return rows


def _plot(costs: Sequence[SizeCost], path: Path) -> None:
    drawn, (latency, recall) = new_plot(2)
    sizes = [cost.images for cost in costs]
    lines = {
        _name(point): [(cost.ours[place].p50_ms, cost.ours[place].recall_at_10) for cost in costs]
        for place, point in enumerate(costs[0].ours)
    }
    for name, baselines in (("numpy", [cost.exact for cost in costs]), ("faiss", [cost.graph for cost in costs])):
        lines[name] = [(float(np.median(baseline.passes_p50_ms)), baseline.recall_at_10) for baseline in baselines]
    for number, (name, points) in enumerate(lines.items()):
        for axes, values in zip((latency, recall), zip(*points, strict=True), strict=True):
            draw_line(axes, number, name, sizes, values)
    latency.set(xscale="log", yscale="log", xlabel="images", title="p50 of a search, ms")
    recall.set(xscale="log", xlabel="images", title="recall@10", ylim=(0.98, 1.001))
    latency.legend()
    save_plot(drawn, path)
