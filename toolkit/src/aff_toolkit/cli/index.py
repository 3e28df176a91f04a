"""`aff index SOURCE`."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from aff_client.index_client import IndexerClient
from aff_client.retries import patiently
from aff_shared.errors import AffError
from aff_toolkit.cli.console import (
    DEFAULT_BUNDLE,
    DEFAULT_INDEXER_URL,
    BundlePath,
    IndexerUrl,
    JsonOption,
    exit_on_error,
    images_bar,
    messages,
    output,
    print_json,
    printable,
)
from aff_toolkit.indexing.index_items import IndexingOptions, index_items
from aff_toolkit.indexing.indexing_record import IndexingRecord, IndexingSummary
from aff_toolkit.indexing.sources import in_words, is_cheap_to_list, source_items

_SHOWN_FAILURES = 20
_INTERRUPTED = 130


class Engine(enum.StrEnum):
    """The process that embeds the images."""

    SERVICE = "service"
    RAY = "ray"


def index(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder, pattern such as 'photos/**/*.jpg', list or data set in CSV, Parquet or Arrow, or tar files; "
            "a path, a URL such as s3://bucket/photographs, or hf:OWNER/NAME for a data set of the Hugging Face hub."
        ),
    ],
    indexer_url: IndexerUrl = DEFAULT_INDEXER_URL,
    prefix: Annotated[
        str, typer.Option(help="Prefix of all IDs, which keeps equal names in different sources apart.")
    ] = "",
    replace: Annotated[
        bool, typer.Option(help="Replace images whose ID exists with other content, or list them as failures.")
    ] = True,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Concurrent requests.")] = 4,
    give_up_after: Annotated[float, typer.Option(min=0, help="Longest time without an indexer, in seconds.")] = 300.0,
    trust_ids: Annotated[
        bool, typer.Option(help="Skip images whose ID is in the gallery, without reading them.")
    ] = False,
    details: Annotated[
        bool,
        typer.Option(
            help="Add what a payload lacks of: file_name and folder (from the ID), taken_at, camera and location "
            "(from EXIF)."
        ),
    ] = True,
    location: Annotated[bool, typer.Option(help="Whether location is one of the details.")] = True,
    failures: Annotated[
        Path, typer.Option(help="CSV file for the list of images that were not indexed; written only if there are any.")
    ] = Path("failures.csv"),
    engine: Annotated[
        Engine,
        typer.Option(help="service: send images to the indexer; ray: embed them on this machine or a Ray cluster."),
    ] = Engine.SERVICE,
    bundle: BundlePath = DEFAULT_BUNDLE,
    encoders: Annotated[int, typer.Option(min=1, help="With --engine ray: number of encoder actors.")] = 1,
    gpus_per_encoder: Annotated[float, typer.Option(min=0, help="With --engine ray: GPUs per encoder actor.")] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Add photographs to the gallery. A second run sends only new and changed photographs.

    Ctrl-C stops the run cleanly; the same command resumes it.
    """
    if engine is Engine.RAY:
        if trust_ids or not replace:
            option = "--trust-ids" if trust_ids else "--no-replace"
            raise typer.BadParameter(f"{option} cannot be combined with --engine ray, which always reads and replaces")
        actors = {"encoders": encoders, "gpus_per_encoder": gpus_per_encoder}
        added = {"prefix": prefix, "details": details, "location": location}
        _index_with_ray(source, bundle, failures, {**actors, **added}, as_json)
        return
    options = IndexingOptions(
        concurrency, give_up_after, trust_ids=trust_ids, replace=replace, details=details, location=location
    )
    started = time.perf_counter()
    with exit_on_error(as_json), IndexerClient(indexer_url) as client, IndexingRecord(failures, source) as record:
        wait = partial(patiently, give_up_after_s=give_up_after, stop=threading.Event())
        wait(client.gallery, away=False)  # fail at once if the indexer is not running
        _warn_of_failure_list(record)
        items = source_items(source, prefix=prefix, passed_over=record.summary.passed_over)
        with _progress(source, record.summary) as advance:
            index_items(client, items, record, options, advance, _replacement_warning())
        seconds = time.perf_counter() - started
        count = wait(client.gallery).count
    _end(record, seconds, count, as_json)


def _index_with_ray(source: str, bundle: Path, failures: Path, options: Mapping[str, Any], as_json: bool) -> None:
    from aff_toolkit.indexing.ray_engine import index_with_ray  # noqa: PLC0415 - torch takes seconds

    started = time.perf_counter()
    with exit_on_error(as_json), IndexingRecord(failures, source) as record:
        _warn_of_failure_list(record)
        with _progress(source, record.summary) as advance:
            try:
                index_with_ray(source, bundle, record, advance, **options)
            except KeyboardInterrupt:
                record.summary.interrupted = True
    _end(record, time.perf_counter() - started, None, as_json)


def _warn_of_failure_list(record: IndexingRecord) -> None:
    failures = record.failure_list
    if failures is not None and failures.problem:
        messages.print(
            f"Warning: {failures.path} cannot be written ({failures.problem}), so images that are not indexed are only "
            "printed here; --failures sets another path"
        )


def _replacement_warning() -> Callable[[Sequence[str]], None]:
    """Return a function that warns once, for the first IDs, that existing content is replaced."""
    warned = threading.Event()

    def warn(ids: Sequence[str]) -> None:
        if not warned.is_set():
            warned.set()
            messages.print(
                f"Warning: the gallery holds other content for {printable(ids[0])}. It is replaced now, and so is the "
                "content of every other ID that differs. If these are different photographs, use --prefix NAME; "
                "--no-replace keeps the gallery's content."
            )

    return warn


def _end(record: IndexingRecord, seconds: float, count: int | None, as_json: bool) -> None:
    summary = record.summary
    if as_json:
        problems = {name: problem.model_dump() for name, problem in summary.failures.items()}
        counts = {**asdict(summary), "failures": problems, "passed_over": dict(summary.passed_over)}
        print_json({**counts, "seconds": seconds, "gallery_images": count})
    else:
        _print_failures(record)
        _print_summary(summary, seconds, count)
    if summary.interrupted:
        raise typer.Exit(_INTERRUPTED)
    if summary.unreadable_folders:
        raise typer.Exit(1)


@contextmanager
def _progress(source: str, summary: IndexingSummary) -> Iterator[Callable[[int], None]]:
    """Show a progress bar, and count the images of the source in the background to estimate the remaining time."""
    ended = threading.Event()

    def count(advance: Callable[[int, int], None]) -> None:
        try:
            images = 0
            for _ in source_items(source):
                images += 1
                if ended.is_set():
                    return
        except AffError:  # the run raises it too
            return
        advance(0, images)

    with images_bar("indexing", None, lambda: summary.failed) as advance:
        if is_cheap_to_list(source):
            threading.Thread(target=count, args=(advance,), daemon=True).start()
        try:
            yield advance
        finally:
            ended.set()


def _print_failures(record: IndexingRecord) -> None:
    summary, failures = record.summary, record.failure_list
    listed = failures is not None and not failures.problem
    shown = list(summary.failures.items())[: _SHOWN_FAILURES if listed else None]
    for name, problem in shown:
        messages.print(f"  not indexed: {printable(name)}: {problem.detail}")
    more = summary.failed + summary.unreadable_folders - len(shown)
    if more:
        messages.print(f"  and {more} more")
    if shown and failures is not None:
        unlisted = f"  the list of failures cannot be written: {failures.problem}"
        messages.print(f"  all failures are listed in {failures.path}" if listed else unlisted)
    if summary.unreadable_folders:
        messages.print(f"  {summary.unreadable_folders} folders could not be read; their images were not indexed")
    if summary.passed_over:
        messages.print(f"  skipped, because their names are not those of images: {in_words(summary.passed_over)}")


def _print_summary(summary: IndexingSummary, seconds: float, count: int | None) -> None:
    following = "Interrupted; the same command resumes." if summary.interrupted else "Next: aff search PHOTO"
    holds = "" if count is None else f" The gallery holds {count} images."
    output.print(
        f"{summary.indexed} indexed, {summary.updated} updated, {summary.duplicate} already there, {summary.failed} "
        f"not indexed, in {seconds:.1f} s ({summary.images / seconds:.0f} images/s).{holds} {following}"
    )
