"""The cost of a search compared with its floor, LitServe, and a symmetric service."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aff_benchmarks.bench.compare_services import (
    Comparison,
    Counts,
    SearchCost,
    best_for_one_and_many,
    compare_services,
)
from aff_benchmarks.bench.services import LitserveSetting
from aff_benchmarks.report.section import (
    BenchContext,
    Figure,
    Section,
    Table,
    draw_bars,
    figure,
    new_plot,
    ratio_of,
    save_plot,
    shown,
)

PLOT = "query_cost.svg"
_COUNTS = Counts()

_TEXT = """
The same procedural photographs (640 x 480 pixels, JPEG) are the queries of five systems, in turn within each
repetition. Each service runs in separate processes and logs no requests:

- **ours**: the query service with its default settings;
- **floor**: decoding, the query encoder and the vector search in a bare loop, without HTTP;
- **LitServe**: the same encoder and the same embedded vector search behind LitServe, with the photograph as the request
  body. Trials with one worker or one per core, with and without batching, select two settings: the best for one client,
  used for latency, and the best for many clients, used for throughput and processor time;
- **FastAPI**: the same encoder and the same embedded vector search behind FastAPI, as tutorials of ONNX Runtime write
  it: Pillow, ONNX Runtime's default number of threads, and FastAPI's thread pool;
- **CLIP**: a symmetric service as tutorials build it: the vision tower of CLIP ViT-L/14 on torch for queries and
  gallery, FastAPI, uvicorn, and qdrant-client in its local mode (or the server of `QDRANT_URL`). Its weights are
  random, which changes accuracy but not cost. Its vector search is exhaustive, which qdrant-client advises against
  beyond 20,000 vectors; the table lists its time separately.

Resident memory covers all processes of a service, with shared pages counted once; our gallery is mapped from files,
CLIP's vectors are in memory. Processor time is that of the run with many clients.
"""
_MEMORY = "Random weights are as large as trained ones."
_FLOOR = (
    "A bare loop never sleeps and keeps its caches (0.3 ms). The service adds HTTP and the photograph's body (0.4 ms), "
    "communication with the encoder's process and the store's thread (0.4 ms), and the web framework. The smaller the "
    "bundle's encoder, the larger their share."
)
_THROUGHPUT = (
    "Both have one process for HTTP and others for the encoder. LitServe does not validate, limit or count requests; "
    "our service still needs less processor time per search."
)


def query_cost(context: BenchContext) -> Section:
    """Measure the services."""
    found = compare_services(context.bundle, images=context.gallery, repetitions=context.repetitions, counts=_COUNTS)
    _plot(found, context.out / PLOT)
    return Section(
        key="query_cost",
        title="Cost of a search",
        text=_TEXT,
        figures=_figures(found),
        tables=[_table(found)],
        plots=[PLOT],
        settings={"gallery": context.gallery, **_COUNTS.model_dump()},
        details=found.model_dump(),
    )


def _figures(found: Comparison) -> dict[str, Figure]:
    ours, clip, one, many = found.ours, found.clip, found.litserve_one, found.litserve_many
    return {
        "clip_p50_over_ours": _ratio(clip, ours, "p50_ms", note=_vector_search_of(clip)),
        "clip_cpu_over_ours": _ratio(clip, ours, "cpu_s_per_1000", at_least=20, note=_vector_search_of(clip)),
        "clip_memory_over_ours": _ratio(clip, ours, "memory_mib", note=_MEMORY),
        "ours_p50_over_floor": _ratio(ours, found.floor, "p50_ms", at_most=1.3, note=_FLOOR),
        "ours_throughput_over_litserve": _ratio(ours, many, "per_s", at_least=1.0, note=_THROUGHPUT),
        "litserve_p50_over_ours": _ratio(one, ours, "p50_ms", at_least=1.0),
        "fastapi_p50_over_ours": _ratio(found.fastapi, ours, "p50_ms", at_least=1.0),
        "fastapi_cpu_over_ours": _ratio(found.fastapi, ours, "cpu_s_per_1000", at_least=1.0),
        "ours_throughput_over_fastapi": _ratio(ours, found.fastapi, "per_s", at_least=1.0),
        "litserve_cpu_over_ours": _ratio(many, ours, "cpu_s_per_1000"),
        "photograph_bytes_over_embedding_bytes": figure([found.photograph_bytes / found.embedding_bytes]),
    }


def _vector_search_of(clip: Sequence[SearchCost]) -> str:
    """Return a note on the share of CLIP's vector search in its latency."""
    share = statistics.median((cost.store_ms or 0.0) / cost.p50_ms for cost in clip)
    return f"The vector search is {share:.0%} of CLIP's median latency; the rest is its tower."


def _ratio(first: Sequence[SearchCost], second: Sequence[SearchCost], name: str, **goal: Any) -> Figure:
    return ratio_of(*([float(getattr(cost, name)) for cost in costs] for costs in (first, second)), **goal)


def _median(costs: Sequence[SearchCost], name: str) -> float | None:
    values = [getattr(cost, name) for cost in costs]
    return None if None in values else statistics.median(values)


def _table(found: Comparison) -> Table:
    one, many = best_for_one_and_many(found.trials)
    rows = {"ours": found.ours, "floor": found.floor}
    if one == many:
        rows[f"LitServe, {_setting_text(one)}"] = found.litserve_one
    else:
        rows[f"LitServe, best for one client: {_setting_text(one)}"] = found.litserve_one
        rows[f"LitServe, best for many: {_setting_text(many)}"] = found.litserve_many
    rows["FastAPI"] = found.fastapi
    rows["CLIP ViT-L/14"] = found.clip
    names = ("p50_ms", "p99_ms", "per_s", "memory_mib", "cpu_s_per_1000", "store_ms")
    headings = ("p50, ms", "p99, ms", "searches/s", "memory, MiB", "CPU s per 1,000", "vector search, ms")
    photograph = f"{found.photograph_bytes:,.0f}"
    uploads = {"ours": f"{photograph}; encoded on the device {found.embedding_bytes:,}", "floor": ""}
    return Table(
        title="Medians of the repetitions",
        columns=["", *headings, "upload, bytes"],
        rows=[
            [label, *(_cell(_median(costs, name)) for name in names), uploads.get(label, photograph)]
            for label, costs in rows.items()
        ],
    )


def _setting_text(setting: LitserveSetting) -> str:
    workers = "one worker" if setting.workers == 1 else f"{setting.workers} workers"
    return f"{workers}, {'no batches' if setting.batch == 1 else f'batches of up to {setting.batch}'}"


def _cell(value: float | None) -> str:
    return "" if value is None else shown(value)


def _plot(found: Comparison, path: Path) -> None:
    drawn, panels = new_plot(3, width=3.4, height=3.2)
    shares = (
        ("p50_ms", "median of one client, ms", found.litserve_one),
        ("cpu_s_per_1000", "processor seconds per 1,000", found.litserve_many),
        ("memory_mib", "resident memory, MiB", found.litserve_many),
    )
    for axes, (name, title, litserve) in zip(panels, shares, strict=True):
        costs = {"floor": found.floor, "ours": found.ours, "LitServe": litserve}
        costs |= {"FastAPI": found.fastapi, "CLIP": found.clip}
        draw_bars(axes, {label: _median(one, name) for label, one in costs.items()}, title, log=True)
    save_plot(drawn, path)
