"""Waits for jobs of the indexer with a progress bar, and prints their results."""

from __future__ import annotations

import threading
import time

from rich.table import Table

from aff_client import ServiceError
from aff_client.index_client import IndexerClient
from aff_client.retries import patiently
from aff_shared.schemas.gallery import Backup, CollectionComparison, FusedCollection, GalleryJob
from aff_toolkit.cli.console import images_bar, messages, output

_POLL_S = 0.2
_AWAY_S = 120.0
_SHOWN_IDS = 5


class JobFailedError(ServiceError):
    """A job of the indexer failed; contains the job's problem."""

    code = "job_failed"
    title = "The job failed"


def ended_job(client: IndexerClient, job: GalleryJob, description: str) -> GalleryJob:
    """Wait for a job and return it; broken connections and a busy service are retried.

    Args:
        client: Client of the indexer.
        job: A started job.
        description: Text before the bar.

    Raises:
        JobFailedError: The job failed.
        ServiceError: The service was restarted and does not know the job.
        ServiceUnreachableError: The service did not answer for two minutes.
    """
    job_id, never = job.id, threading.Event()
    with images_bar(description, job.total) as advance:
        while job.state == "running":
            time.sleep(_POLL_S)
            done, job = job.done, patiently(lambda: client.job(job_id), give_up_after_s=_AWAY_S, stop=never)
            advance(job.done - done, job.total)
    if job.problem is not None:
        raise JobFailedError(job.problem)
    return job


def print_jobs(jobs: list[GalleryJob]) -> None:
    """Print a line for each job."""
    for job in jobs:
        images = f"{job.done}" if job.total is None else f"{job.done} of {job.total}"
        reason = "" if job.problem is None else f": {job.problem.detail}"
        output.print(f"{job.id} {job.kind} {job.item}: {job.state}, {images} images{reason}")


def print_backups(backups: list[Backup]) -> None:
    """Print a table of backups."""
    table = Table("name", "created", "images", "size", "spaces")
    for one in backups:
        spaces = ", ".join(space.id[:12] for space in one.spaces)
        size = f"{one.size_bytes / 1e6:.1f} MB"
        table.add_row(one.name, f"{one.created_at:%Y-%m-%d %H:%M}", str(one.count), size, spaces)
    output.print(table)


def print_remixed(job: GalleryJob, fused: FusedCollection) -> None:
    """Print the result of a remix."""
    if fused.missing:
        shown = ", ".join(fused.missing_ids[:_SHOWN_IDS])
        messages.print(f"{fused.missing} images have no stored features: {shown} ...; index their sources again")
    output.print(f"{job.done} images processed. Next: aff gallery verify {fused.space.id[:12]}")


def print_comparison(found: CollectionComparison, space: str) -> None:
    """Print the differences between a collection and the live one."""
    output.print(f"live {found.live_count} images, {space} {found.count}")
    for count, ids, what in (
        (found.missing, found.missing_ids, "missing in the collection"),
        (found.surplus, found.surplus_ids, "only in the collection"),
    ):
        if count:
            output.print(f"{count} {what}: {', '.join(ids[:_SHOWN_IDS])}{' ...' if count > _SHOWN_IDS else ''}")
    if found.self_recall is not None and found.live_self_recall is not None and found.shared_neighbours is not None:
        output.print(
            f"{found.samples} images searched for themselves: found first in {found.self_recall:.1%} (live "
            f"{found.live_self_recall:.1%}); {found.shared_neighbours:.1%} of the neighbours agree"
        )
    if not found.missing and not found.surplus:
        output.print(f"Both contain the same images. Next: aff gallery switch {space}")
