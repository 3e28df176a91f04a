"""`aff index SOURCE`."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from aff_contracts.errors import AffError
from aff_toolkit.cli.console import JsonOption, errors_told, messages, output, print_json
from aff_toolkit.cli.indexing_bar import IndexingBar
from aff_toolkit.cli.options import DEFAULT_BUNDLE, DEFAULT_INDEXER_URL, BundlePath, IndexerUrl
from aff_toolkit.client import IndexerClient
from aff_toolkit.indexing.index_items import IndexingOptions, index_items
from aff_toolkit.indexing.indexing_summary import IndexingRecord, IndexingSummary
from aff_toolkit.indexing.source import source_items

_SHOWN_FAILURES = 20
_INTERRUPTED = 130


class Engine(enum.StrEnum):
    """What embeds."""

    SERVICE = "service"
    RAY = "ray"


def index(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder, a pattern, a CSV or Parquet list, tar files; paths, or URLs such as s3://bucket/photographs."
        ),
    ],
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Requests in flight.")] = 4,
    give_up_after: Annotated[float, typer.Option(min=0, help="Seconds that the indexer may be away.")] = 300.0,
    trust_ids: Annotated[
        bool, typer.Option(help="Skip what the gallery holds under its id, without reading it.")
    ] = False,
    failures: Annotated[
        Path, typer.Option(help="Where the list of what was not indexed goes, if there is any.")
    ] = Path("failures.csv"),
    engine: Annotated[
        Engine, typer.Option(help="Send to the indexer, or embed on this machine or a Ray cluster, into the store.")
    ] = Engine.SERVICE,
    bundle: BundlePath = DEFAULT_BUNDLE,
    encoders: Annotated[int, typer.Option(min=1, help="With --engine ray: actors that embed.")] = 1,
    gpus_per_encoder: Annotated[float, typer.Option(min=0, help="With --engine ray: cards of each of them.")] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Put photographs into the gallery; running it again sends only what is new or changed.

    Ctrl-C ends it in order; the same command goes on.
    """
    if engine is Engine.RAY:
        if trust_ids:
            raise typer.BadParameter("--trust-ids is of no use with --engine ray, which reads in any case")
        _index_with_ray(source, bundle, failures, encoders, gpus_per_encoder, as_json)
        return
    options = IndexingOptions(concurrency=concurrency, give_up_after_s=give_up_after, trust_ids=trust_ids)
    started = time.perf_counter()
    with errors_told(as_json), IndexerClient(indexer_url) as client, IndexingRecord(failures) as record:
        client.gallery()  # an indexer that was never there is told at once; one that goes away is waited for
        with IndexingBar(record.summary) as bar, _counted(source, bar):
            index_items(client, source_items(source), record, options, bar.advance)
        seconds = time.perf_counter() - started
        count = client.gallery().count
    _end(record.summary, seconds, count, failures, as_json)


def _index_with_ray(
    source: str, bundle: Path, failures: Path, encoders: int, gpus_per_encoder: float, as_json: bool
) -> None:
    from aff_toolkit.indexing.ray_engine import index_with_ray  # noqa: PLC0415 - torch takes seconds

    started = time.perf_counter()
    with errors_told(as_json), IndexingRecord(failures) as record:
        with IndexingBar(record.summary) as bar, _counted(source, bar):
            try:
                index_with_ray(
                    source, bundle, record, bar.advance, encoders=encoders, gpus_per_encoder=gpus_per_encoder
                )
            except KeyboardInterrupt:
                record.summary.interrupted = True
        _end(record.summary, time.perf_counter() - started, None, failures, as_json)


def _end(summary: IndexingSummary, seconds: float, count: int | None, failures: Path, as_json: bool) -> None:
    if as_json:
        problems = {name: problem.model_dump() for name, problem in summary.failures.items()}
        print_json({**asdict(summary), "failures": problems, "seconds": seconds, "gallery_images": count})
    else:
        _tell(summary, seconds, count, failures)
    if summary.interrupted:
        raise typer.Exit(_INTERRUPTED)


@contextmanager
def _counted(source: str, bar: IndexingBar) -> Iterator[None]:
    """Count the images beside the run, so that the bar can tell when it will end."""
    ended = threading.Event()

    def count() -> None:
        try:
            images = 0
            for _ in source_items(source):
                images += 1
                if ended.is_set():
                    return
        except AffError:  # the run meets it, too, and tells it
            return
        bar.set_total(images)

    if source.endswith((".csv", ".parquet")) or ("://" not in source and ".tar" not in source):
        threading.Thread(target=count, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _tell(summary: IndexingSummary, seconds: float, count: int | None, failures: Path) -> None:
    for name, problem in list(summary.failures.items())[:_SHOWN_FAILURES]:
        messages.print(f"  not indexed: {name}: {problem.detail}")
    if summary.failed > _SHOWN_FAILURES:
        messages.print(f"  and {summary.failed - _SHOWN_FAILURES} more")
    if summary.failed:
        messages.print(f"  all of them stand in {failures}")
    following = "Interrupted; the same command goes on." if summary.interrupted else "Next: aff search PHOTO"
    holds = "" if count is None else f" The gallery holds {count} images."
    output.print(
        f"{summary.indexed} indexed, {summary.updated} updated, {summary.duplicate} already there, {summary.failed} "
        f"not indexed, in {seconds:.1f} s ({summary.images / seconds:.0f} images/s).{holds} {following}"
    )
