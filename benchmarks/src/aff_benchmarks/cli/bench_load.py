"""`aff bench load`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from aff_toolkit.cli.console import DEFAULT_BUNDLE, BundlePath, JsonOption, exit_on_error, output, print_json

if TYPE_CHECKING:
    from aff_benchmarks.bench.load_report import LoadBench

_MISSED = 3


def load(
    bundle: BundlePath = DEFAULT_BUNDLE,
    gallery: Annotated[int, typer.Option(min=1, help="Images of the gallery.")] = 10_000,
    query_url: Annotated[str | None, typer.Option(help="Query service that runs already; with --indexer-url.")] = None,
    indexer_url: Annotated[str | None, typer.Option(help="Indexer that runs already, on the same gallery.")] = None,
    key: Annotated[str | None, typer.Option(envvar="AFF_API_KEY", help="Of the running services.")] = None,
    pid: Annotated[list[int] | None, typer.Option(help="Process here of a running service, to be watched.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.1, help="Requests a second. [default: half the capacity]")] = None,
    even: Annotated[bool, typer.Option(help="Send at equal distances, not at random moments.")] = False,
    index_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the requests that index images, or delete them.")
    ] = 0.05,
    minutes: Annotated[float, typer.Option(min=0.01, help="That are measured.")] = 10.0,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds of the load before.")] = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Load both services for a long time with searches, indexing and deletions, and watch their memory.

    Requests come whether earlier ones were answered or not; latency counts from the moment when one was due. Status 3
    says that a request failed, or that a process grew by more than 1 MiB a minute after the warm-up.
    """
    from aff_benchmarks.bench.soak import LoadPlan, Services, bench_load, own_services  # noqa: PLC0415 - takes a while

    if (query_url is None) != (indexer_url is None):
        raise typer.BadParameter("--query-url and --indexer-url belong together")
    plan = LoadPlan(60 * minutes, warm_up, index_share, per_s=rate, even=even)
    with exit_on_error(as_json):
        given = None
        if query_url is not None and indexer_url is not None:
            given = Services(query_url, indexer_url, pid or (), key)
        with nullcontext(given) if given is not None else own_services(bundle, gallery) as services:
            found = bench_load(services, plan)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _tell(found)
    if not all(found.goals.values()):
        raise typer.Exit(_MISSED)


def _tell(found: LoadBench) -> None:
    table = Table("requests", "sent", "refused", "p50 ms", "p95 ms", "p99 ms", "max ms")
    for kind, one in found.kinds.items():
        latencies = (one.p50_ms, one.p95_ms, one.p99_ms, one.max_ms)
        told = ("" if latency is None else f"{latency:.1f}" for latency in latencies)
        table.add_row(kind, str(one.requests), str(one.refused), *told)
    output.print(table)
    capacity = "" if found.capacity_per_s is None else f", where {found.capacity_per_s:.0f} can be answered"
    answers = ", ".join(f"{count} x {name}" for name, count in found.answers.items())
    output.print(f"{found.per_s:.0f} requests/s for {found.seconds:.0f} s{capacity}; answers: {answers}")
    for process in found.processes:
        first, last = process.samples[0], process.samples[-1]
        output.print(
            f"process {process.pid}: {first.resident_mb:.0f} to {last.resident_mb:.0f} MiB "
            f"({process.resident_mb_per_min:+.2f} a minute), of which {first.anonymous_mb:.0f} to "
            f"{last.anonymous_mb:.0f} anonymous ({process.anonymous_mb_per_min:+.2f}); {first.descriptors} to "
            f"{last.descriptors} descriptors ({process.descriptors_per_min:+.2f}); {first.threads} to {last.threads} "
            "threads"
        )
    missed = [goal for goal, met in found.goals.items() if not met]
    met = "nothing failed, and no process grew by more than 1 MiB a minute"
    output.print(f"missed: {', '.join(missed)}" if missed else met)
