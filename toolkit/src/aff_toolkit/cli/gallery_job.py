"""Waits for a job of the indexer with a progress bar."""

from __future__ import annotations

import threading
import time

from aff_client import ServiceError
from aff_client.index_client import IndexerClient
from aff_shared.schemas.gallery import GalleryJob
from aff_toolkit.cli.console import images_bar, output
from aff_toolkit.indexing.patience import patiently

_POLL_S = 0.2
_AWAY_S = 120.0


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
