"""What a search costs beside its floor, beside LitServe, and beside a symmetric service."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from aff_benchmarks.bench.baselines.compare_services import Comparison, Counts, compare_services
from aff_benchmarks.bench.baselines.search_cost import LitserveSetting, SearchCost, best_for_many, best_for_one
from aff_benchmarks.report.report import shown
from aff_benchmarks.report.section import BenchContext, Figure, Section, Table, figure, ratio_of
from aff_benchmarks.report.theme import draw_bars, new_plot, save_plot
from aff_shared.errors import MissingExtraError

PLOT = "query_cost.svg"
_NEEDED = ("litserve", "transformers")
_COUNTS = Counts()

_TEXT = """
The same procedural photographs (640 x 480 pixels, JPEG) are searched with in four ways, in turn within each repetition,
each service in processes of its own, none of them logging its requests:

- **ours**: the query service with its default settings;
- **floor**: decoding, the query encoder and the vector search in a bare loop, without HTTP;
- **LitServe**: the same encoder and the same embedded vector search behind LitServe, the photograph as the body of the
  request. One worker or one for each core, with and without its batching, were tried first; it is held against us with
  the setting that serves one client best where latency is compared, and with the one that serves many clients best
  where throughput and processor time are;
- **CLIP**: a symmetric service as tutorials build it: the vision tower of CLIP ViT-L/14 on torch for queries as for
  the gallery, FastAPI, uvicorn, and qdrant-client in its local mode (or the server of `QDRANT_URL`). Its weights are
  random, for what it costs does not depend on them; it says nothing of accuracy. Its vector search compares all vectors
  one by one, which qdrant-client itself advises against beyond 20,000; what that takes stands by itself, so that nobody
  thinks that the ratio came from it.

Resident memory is that of all processes of a service, and pages that several of them share count once; our gallery is
mapped from files, CLIP's vectors lie in memory. Processor time is that of the run with many clients.
"""
_MEMORY = "Random weights weigh as much as trained ones."
_FLOOR = (
    "A bare loop never sleeps and keeps its caches (0.3 ms). Above it are HTTP and the photograph's body (0.4 ms), "
    "the ways to the encoder's process and to the store's thread (0.4 ms), and Python of the frame. The "
    "smaller the bundle's encoder, the more of a search is the frame."
)
_THROUGHPUT = (
    "Each has a process for HTTP beside that of the encoder. LitServe's frame validates, limits and counts nothing; "
    "ours spends less processor time on a search all the same."
)


def query_cost(context: BenchContext) -> Section:
    """Measure.

    Raises:
        MissingExtraError: A baseline is not installed.
        BundleError: The bundle cannot be used.
        RuntimeError: A service did not start, or refused a search.
    """
    _require_rivals()
    found = compare_services(context.bundle, images=context.gallery, repetitions=context.repetitions, counts=_COUNTS)
    _plot(found, context.out / PLOT)
    return Section(
        key="query_cost",
        title="What a search costs",
        text=_TEXT,
        figures=_figures(found),
        tables=[_table(found)],
        plots=[PLOT],
        settings={"gallery": context.gallery, **_COUNTS.model_dump()},
        details=found.model_dump(),
    )


def _require_rivals() -> None:
    for package in _NEEDED:
        if find_spec(package) is None:
            raise MissingExtraError(f"{package} is missing: pip install 'aff-toolkit[bench]'", item=package)


def _figures(found: Comparison) -> dict[str, Figure]:
    ours, clip, one, many = found.ours, found.clip, found.litserve_one, found.litserve_many
    return {
        "clip_p50_over_ours": _ratio(clip, ours, "p50_ms", note=_vector_search_of(clip)),
        "clip_cpu_over_ours": _ratio(clip, ours, "cpu_s_per_1000", at_least=20, note=_vector_search_of(clip)),
        "clip_memory_over_ours": _ratio(clip, ours, "memory_mib", note=_MEMORY),
        "ours_p50_over_floor": _ratio(ours, found.floor, "p50_ms", at_most=1.3, note=_FLOOR),
        "ours_throughput_over_litserve": _ratio(ours, many, "per_s", at_least=1.0, note=_THROUGHPUT),
        "litserve_p50_over_ours": _ratio(one, ours, "p50_ms", at_least=1.0),
        "litserve_cpu_over_ours": _ratio(many, ours, "cpu_s_per_1000"),
        "photograph_bytes_over_embedding_bytes": figure([found.photograph_bytes / found.embedding_bytes]),
    }


def _vector_search_of(clip: Sequence[SearchCost]) -> str:
    """Say what the ratio owes to another vector search than ours."""
    share = statistics.median((cost.store_ms or 0.0) / cost.p50_ms for cost in clip)
    return f"CLIP's own vector search is {share:.0%} of its median latency; the rest is its tower."


def _ratio(
    first: Sequence[SearchCost],
    second: Sequence[SearchCost],
    name: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Figure:
    values = [[float(getattr(cost, name)) for cost in costs] for costs in (first, second)]
    return ratio_of(*values, at_least=at_least, at_most=at_most, note=note)


def _median(costs: Sequence[SearchCost], name: str) -> float | None:
    values = [getattr(cost, name) for cost in costs]
    return None if None in values else statistics.median(values)


def _table(found: Comparison) -> Table:
    one, many = best_for_one(found.trials), best_for_many(found.trials)
    rows = {"ours": found.ours, "floor": found.floor}
    if one == many:
        rows[f"LitServe, {_said(one)}"] = found.litserve_one
    else:
        rows[f"LitServe, best for one client: {_said(one)}"] = found.litserve_one
        rows[f"LitServe, best for many: {_said(many)}"] = found.litserve_many
    rows["CLIP ViT-L/14"] = found.clip
    names = ("p50_ms", "p99_ms", "per_s", "memory_mib", "cpu_s_per_1000", "store_ms")
    columns = [
        "",
        "p50, ms",
        "p99, ms",
        "searches/s",
        "memory, MiB",
        "CPU s per 1,000",
        "vector search, ms",
        "upload, bytes",
    ]
    photograph = f"{found.photograph_bytes:,.0f}"
    uploads = {"ours": f"{photograph}; encoded on the device {found.embedding_bytes:,}", "floor": ""}
    return Table(
        title="Medians of the repetitions",
        columns=columns,
        rows=[
            [label, *(_cell(_median(costs, name)) for name in names), uploads.get(label, photograph)]
            for label, costs in rows.items()
        ],
    )


def _said(setting: LitserveSetting) -> str:
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
        costs = {"floor": found.floor, "ours": found.ours, "LitServe": litserve, "CLIP": found.clip}
        draw_bars(axes, {label: _median(one, name) for label, one in costs.items()}, title, log=True)
    save_plot(drawn, path)
