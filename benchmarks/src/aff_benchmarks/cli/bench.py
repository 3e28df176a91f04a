"""`aff bench`: measurements of services and stores; `bench_models` adds those of networks."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from aff_benchmarks.cli import bench_models
from aff_benchmarks.cli.bench_models import GALLERY_SIZES, Rounds, show
from aff_shared.errors.requests import InvalidParameterError
from aff_shared.store.settings import Quantization
from aff_toolkit.cli.console import (
    DEFAULT_BUNDLE,
    BundlePath,
    JsonOption,
    exit_on_error,
    messages,
    output,
    print_json,
)

if TYPE_CHECKING:
    from aff_benchmarks.bench.soak import LoadBench

_STORE_SIZES = (10_000, 100_000)
_MISSED = 3

app = typer.Typer(help="Measure speed, memory and recall, as ratios within one run.", no_args_is_help=True)


@app.command("all")
def everything(
    bundle: BundlePath = DEFAULT_BUNDLE,
    out: Annotated[Path, typer.Option(help="Directory of the report.")] = Path("out/bench"),
    only: Annotated[
        list[str] | None,
        typer.Option(help="Measure only this section, and keep the others of an earlier run in --out; repeatable."),
    ] = None,
    repetitions: Annotated[int, typer.Option(min=1, help="Repetitions, summarised by the median.")] = 5,
    gallery: Annotated[
        int, typer.Option("--gallery-size", min=10, help="Number of images in the searched gallery.")
    ] = 50_000,
    size: Annotated[
        list[int] | None,
        typer.Option(min=100, help="Gallery size of the store comparison; repeatable; by default 10000, 100000."),
    ] = None,
    grocery: Annotated[
        Path | None, typer.Option(help="CSV list of real photographs with columns path, instance, role (optional).")
    ] = None,
    ablations: Annotated[Path, typer.Option(help="Directory of results of `aff ablate`.")] = Path(
        "docs/results/ablation"
    ),
    as_json: JsonOption = False,
) -> None:
    """Measure every figure of the README: writes `bench.json`, README.md and plots. Takes an hour."""
    from aff_benchmarks.report.report import SECTIONS, bench_all  # noqa: PLC0415 - torch is slow to import
    from aff_benchmarks.report.section import BenchContext  # noqa: PLC0415

    with exit_on_error(as_json):
        if unknown := set(only or ()) - set(SECTIONS):
            detail = f"unknown section {', '.join(sorted(unknown))}; known: {', '.join(SECTIONS)}"
            raise InvalidParameterError(detail, item="--only")
        context = BenchContext(bundle, out, repetitions, gallery, size or _STORE_SIZES, grocery, ablations)
        report = bench_all(context, only or (), messages.print)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        output.print(str(out / "README.md"))


@app.command()
def query(
    bundle: BundlePath = DEFAULT_BUNDLE,
    gallery: Annotated[int, typer.Option("--gallery-size", min=1, help="Number of gallery images.")] = 50_000,
    searches: Annotated[int, typer.Option(min=8, help="Searches per round.")] = 200,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds per load.")] = 5.0,
    growth: Annotated[
        list[int] | None,
        typer.Option(
            min=10,
            help="Gallery size of the vector search measurement; repeatable; by default 1000, 10000, 100000; 500000 "
            "takes half an hour.",
        ),
    ] = None,
    rounds: Rounds = 5,
    as_json: JsonOption = False,
) -> None:
    """Compare searches in the query service with decoding, encoder and vector search in a bare loop (the floor)."""
    from aff_benchmarks.bench.bench_query import bench_query  # noqa: PLC0415 - slow to import

    counts = {"gallery": gallery, "rounds": rounds, "searches": searches}
    with exit_on_error(as_json):
        found = bench_query(bundle, **counts, seconds=seconds, growth_sizes=growth or GALLERY_SIZES)
    show(
        found,
        as_json,
        f"one client: {found.p50_ms:.2f} ms, {found.p50_over_floor:.2f} of the floor ({found.floor_p50_ms:.2f} ms); as "
        f"a form {found.form_p50_over_floor:.2f}; 12 megapixels {found.p50_12mp_over_640px:.2f} of 640 pixels "
        f"(floor {found.floor_12mp_over_640px:.2f})\n"
        f"16 clients: {found.per_s:.0f} searches/s, {found.throughput_over_floor:.2f} of the floor "
        f"({found.floor_per_s:.0f}); p99 {found.p99_over_p50_at_70pct:.1f} of p50 at 70 % load\n"
        f"ready after {found.ready_s:.2f} s; resident memory without the model {found.resident_mb:.0f} MiB, of which "
        f"{found.resident_anonymous_mb:.0f} anonymous ({found.gallery} images, {found.cores} cores)",
        *(
            f"{point.load:4.1f} of the capacity: {point.per_s:5.0f} searches/s, p50 {point.p50_ms:6.1f} ms, "
            f"p99 {point.p99_ms:6.1f} ms, {point.rejected:.0%} rejected with 429"
            for point in found.overload
        ),
        *(
            f"{size.images:7} images, {size.quantization:6}: vector search p50 {size.p50_ms:.2f} ms, p99 "
            f"{size.p99_ms:.2f} ms, exact {size.exact_p50_ms:.2f} ms; recall@10 {size.recall_at_10:.4f}; "
            f"{size.building_p50_ms:.0f} ms (p99 {size.building_p99_ms:.0f}) while the graph is built; "
            f"{size.resident_mb:.0f} MiB resident, {size.disk_mb:.0f} on disk"
            for size in found.growth
        ),
    )


@app.command()
def load(
    bundle: BundlePath = DEFAULT_BUNDLE,
    gallery: Annotated[int, typer.Option("--gallery-size", min=1, help="Number of gallery images.")] = 10_000,
    query_url: Annotated[
        str | None, typer.Option(help="Address of a running query service; requires --indexer-url.")
    ] = None,
    indexer_url: Annotated[str | None, typer.Option(help="Address of a running indexer of the same gallery.")] = None,
    key: Annotated[str | None, typer.Option(envvar="AFF_API_KEY", help="API key of the running services.")] = None,
    pid: Annotated[
        list[int] | None, typer.Option(help="Local process of a running service to watch; repeatable.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Requests per second; half of the capacity by default.")
    ] = None,
    even: Annotated[bool, typer.Option(help="Send at equal intervals instead of random moments.")] = False,
    index_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the requests that index or delete images.")
    ] = 0.05,
    minutes: Annotated[float, typer.Option(min=0.01, help="Measured minutes.")] = 10.0,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds of load before the measurement.")] = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Load both services for a long time with searches, indexing and deletions, and watch their memory.

    Requests are sent at fixed moments regardless of earlier responses; latency is measured from the due time.

    Exit status 3: a request failed, or a process grew by more than 1 MiB per minute after the warm-up.
    """
    from aff_benchmarks.bench.soak import LoadPlan, Services, bench_load, own_services  # noqa: PLC0415 - slow to import

    if (query_url is None) != (indexer_url is None):
        raise typer.BadParameter("--query-url and --indexer-url must be given together")
    plan = LoadPlan(60 * minutes, warm_up, index_share, per_s=rate, even=even)
    with exit_on_error(as_json), ExitStack() as stack:
        if query_url is not None and indexer_url is not None:
            services = Services(query_url, indexer_url, pid or (), key)
        else:
            services = stack.enter_context(own_services(bundle, gallery))
        found = bench_load(services, plan)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _print_load(found)
    if not all(found.goals.values()):
        raise typer.Exit(_MISSED)


def _print_load(found: LoadBench) -> None:
    table = Table("requests", "sent", "rejected", "p50 ms", "p95 ms", "p99 ms", "max ms")
    for kind, one in found.kinds.items():
        latencies = (one.p50_ms, one.p95_ms, one.p99_ms, one.max_ms)
        cells = ("" if latency is None else f"{latency:.1f}" for latency in latencies)
        table.add_row(kind, str(one.requests), str(one.rejected), *cells)
    output.print(table)
    capacity = "" if found.capacity_per_s is None else f" (capacity {found.capacity_per_s:.0f})"
    responses = ", ".join(f"{count} x {name}" for name, count in found.answers.items())
    output.print(f"{found.per_s:.0f} requests/s for {found.seconds:.0f} s{capacity}; responses: {responses}")
    for process in found.processes:
        first, last = process.samples[0], process.samples[-1]
        output.print(
            f"process {process.pid}: {first.resident_mb:.0f} to {last.resident_mb:.0f} MiB "
            f"({process.resident_mb_per_min:+.2f} per minute), of which {first.anonymous_mb:.0f} to "
            f"{last.anonymous_mb:.0f} anonymous ({process.anonymous_mb_per_min:+.2f}); {first.descriptors} to "
            f"{last.descriptors} descriptors ({process.descriptors_per_min:+.2f}); {first.threads} to {last.threads} "
            "threads"
        )
    missed = ", ".join(goal for goal, met in found.goals.items() if not met)
    met = "no request failed, and no process grew by more than 1 MiB per minute"
    output.print(f"missed goals: {missed}" if missed else met)


@app.command()
def shards(
    images: Annotated[int, typer.Option(min=10, help="Number of gallery images.")] = 200_000,
    dimension: Annotated[int, typer.Option(min=2, help="Embedding dimension.")] = 128,
    count: Annotated[
        list[int] | None, typer.Option(min=1, help="Number of shards; repeatable; by default 1, 2, 4, 8.")
    ] = None,
    quantization: Annotated[Quantization, typer.Option(help="Compression of the vectors.")] = "none",
    as_json: JsonOption = False,
) -> None:
    """Compare recall and latency of one gallery in one shard and in several, with merged hits."""
    from aff_benchmarks.bench.gallery_growth import SHARD_COUNTS, measure_sharding  # noqa: PLC0415 - slow to import

    found = []
    with exit_on_error(as_json):
        for point in measure_sharding(dimension, images, count or SHARD_COUNTS, quantization):
            found.append(point)
            if not as_json:
                output.print(
                    f"{point.shards:3} shards of {point.images // point.shards:8} images, {point.quantization}: "
                    f"recall@10 {point.recall_at_10:.4f}; parallel p50 {point.parallel_p50_ms:.2f} ms, p99 "
                    f"{point.parallel_p99_ms:.2f} ms; serial {point.serial_p50_ms:.2f} ms, of which the merge "
                    f"{point.merge_p50_ms:.3f} ms; built in {point.built_s:.0f} s"
                )
    if as_json:
        print_json([point.model_dump() for point in found])


bench_models.add_commands(app)
