"""`aff index SOURCE`."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from aff_client.index_client import IndexerClient
from aff_shared.errors import AffError
from aff_toolkit.cli.console import (
    DEFAULT_BUNDLE,
    DEFAULT_INDEXER_URL,
    BundlePath,
    IndexerUrl,
    JsonOption,
    exit_on_error,
    messages,
    output,
    print_json,
    printable,
)
from aff_toolkit.cli.indexing_bar import IndexingBar
from aff_toolkit.indexing.files_source import in_words
from aff_toolkit.indexing.index_items import IndexingOptions, index_items
from aff_toolkit.indexing.indexing_summary import IndexingRecord, IndexingSummary
from aff_toolkit.indexing.patience import patiently
from aff_toolkit.indexing.source import is_cheap_to_list, source_items

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
    prefix: Annotated[
        str, typer.Option(help="Folder before all ids, so that equal names in other sources are other images.")
    ] = "",
    replace: Annotated[
        bool, typer.Option(help="Replace images whose id comes with other content, or list them as failures.")
    ] = True,
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
        if trust_ids or not replace:
            option = "--trust-ids" if trust_ids else "--no-replace"
            raise typer.BadParameter(f"{option} is of no use with --engine ray, which reads and writes in any case")
        _index_with_ray(source, prefix, bundle, failures, encoders, gpus_per_encoder, as_json)
        return
    options = IndexingOptions(concurrency, give_up_after, trust_ids=trust_ids, replace=replace)
    started = time.perf_counter()
    with exit_on_error(as_json), IndexerClient(indexer_url) as client, IndexingRecord(failures, source) as record:
        wait = partial(patiently, give_up_after_s=give_up_after, stop=threading.Event())
        wait(client.gallery, away=False)  # an indexer that was never there is told at once
        _warn_of_failure_list(record)
        items = source_items(source, prefix=prefix, passed_over=record.summary.passed_over)
        with IndexingBar(record.summary) as bar, _counted(source, bar):
            index_items(client, items, record, options, bar.advance, _replacement_warning())
        seconds = time.perf_counter() - started
        count = wait(client.gallery).count
    _end(record, seconds, count, as_json)


def _index_with_ray(
    source: str, prefix: str, bundle: Path, failures: Path, encoders: int, gpus_per_encoder: float, as_json: bool
) -> None:
    from aff_toolkit.indexing.ray_engine import index_with_ray  # noqa: PLC0415 - torch takes seconds

    started = time.perf_counter()
    with exit_on_error(as_json), IndexingRecord(failures, source) as record:
        _warn_of_failure_list(record)
        with IndexingBar(record.summary) as bar, _counted(source, bar):
            try:
                index_with_ray(
                    source,
                    bundle,
                    record,
                    bar.advance,
                    encoders=encoders,
                    gpus_per_encoder=gpus_per_encoder,
                    prefix=prefix,
                )
            except KeyboardInterrupt:
                record.summary.interrupted = True
    _end(record, time.perf_counter() - started, None, as_json)


def _warn_of_failure_list(record: IndexingRecord) -> None:
    failures = record.failure_list
    if failures is not None and failures.problem:
        messages.print(
            f"Warning: {failures.path} cannot be written ({failures.problem}), so what is not indexed is shown here "
            "alone; --failures names another place"
        )


def _replacement_warning() -> Callable[[Sequence[str]], None]:
    """Return what tells once, at the first ids, that other content is replaced."""
    told = threading.Event()

    def warn(ids: Sequence[str]) -> None:
        if not told.is_set():
            told.set()
            messages.print(
                f"Warning: the gallery holds other content under {printable(ids[0])}; it is replaced now, as under "
                "every id that it holds with other content. If these are other photographs, --prefix NAME gives them "
                "ids of their own; --no-replace keeps what the gallery holds."
            )

    return warn


def _end(record: IndexingRecord, seconds: float, count: int | None, as_json: bool) -> None:
    summary = record.summary
    if as_json:
        problems = {name: problem.model_dump() for name, problem in summary.failures.items()}
        counts = {**asdict(summary), "failures": problems, "passed_over": dict(summary.passed_over)}
        print_json({**counts, "seconds": seconds, "gallery_images": count})
    else:
        _tell_failures(record)
        _tell(summary, seconds, count)
    if summary.interrupted:
        raise typer.Exit(_INTERRUPTED)
    if summary.unreadable_folders:
        raise typer.Exit(1)


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

    if is_cheap_to_list(source):
        threading.Thread(target=count, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _tell_failures(record: IndexingRecord) -> None:
    summary, failures = record.summary, record.failure_list
    listed = failures is not None and not failures.problem
    shown = list(summary.failures.items())[: _SHOWN_FAILURES if listed else None]
    for name, problem in shown:
        messages.print(f"  not indexed: {printable(name)}: {problem.detail}")
    more = summary.failed + summary.unreadable_folders - len(shown)
    if more:
        messages.print(f"  and {more} more")
    if shown and failures is not None:
        unlisted = f"  the list of them cannot be written: {failures.problem}"
        messages.print(f"  all of them stand in {failures.path}" if listed else unlisted)
    if summary.unreadable_folders:
        messages.print(f"  {summary.unreadable_folders} folders could not be read: what lies in them was not looked at")
    if summary.passed_over:
        messages.print(f"  passed over, since their names are not those of images: {in_words(summary.passed_over)}")


def _tell(summary: IndexingSummary, seconds: float, count: int | None) -> None:
    following = "Interrupted; the same command goes on." if summary.interrupted else "Next: aff search PHOTO"
    holds = "" if count is None else f" The gallery holds {count} images."
    output.print(
        f"{summary.indexed} indexed, {summary.updated} updated, {summary.duplicate} already there, {summary.failed} "
        f"not indexed, in {seconds:.1f} s ({summary.images / seconds:.0f} images/s).{holds} {following}"
    )
