"""Jobs: work on the whole gallery that may take longer than a request.

The work of a job is a function of a JobProgress. One job runs at a time. A job is `running`, and ends as `finished` or
`failed`, also after an unexpected error. Jobs exist in memory only: a process that stops fails its running job, and a
new process has none.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from aff_shared.errors import AffError, JobNotFoundError, JobRunningError, JobStoppedError
from aff_shared.schemas.gallery import GalleryJob, JobKind, JobResult
from aff_shared.schemas.problem import Problem, problem_of

_KEPT = 32

_logger = logging.getLogger(__name__)


class JobProgress:
    """Progress of a job, which its work reports.

    Attributes:
        job: The present state of the job, as clients receive it.
    """

    def __init__(self, job: GalleryJob) -> None:
        self.job = job

    def expect(self, images: int) -> None:
        """Set the total number of images."""
        self.set(total=images)

    def advance(self, images: int) -> None:
        """Count images that are done."""
        self.set(done=self.job.done + images)

    def note(self, result: JobResult) -> None:
        """Set the result, or an intermediate result."""
        self.set(result=result)

    def set(self, **values: object) -> None:
        """Replace fields of the job."""
        self.job = self.job.model_copy(update=values)


Work = Callable[[JobProgress], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Started:
    """A job and the request that started it."""

    progress: JobProgress
    task: asyncio.Task[None]
    request: tuple[JobKind, str, str | None]


class GalleryJobs:
    """The jobs of this process: the running one, and the last ones that ended."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Started] = {}
        self._starting = asyncio.Lock()
        self._closed = False

    async def start(
        self, kind: JobKind, item: str, prepare: Callable[[], Awaitable[Work]], *, key: str | None = None
    ) -> GalleryJob:
        """Start a job.

        Args:
            kind: Kind of the job.
            item: Name of the bundle, collection or backup that it works on.
            prepare: Checks the request and returns the work.
            key: Idempotency key of the request: a repeated request returns the job of the first one.

        Raises:
            JobRunningError: Another job is running.
            JobStoppedError: The jobs were closed.
            AffError: `prepare` failed.
        """
        request = (kind, item, key)
        async with self._starting:
            for started in self._jobs.values():
                if key is not None and started.request == request:
                    return started.progress.job
            self._require_open(item)
            self._require_none_running()
            work = await prepare()
            self._require_open(item)
            return self._start(request, work)

    def jobs(self) -> list[GalleryJob]:
        """Return the jobs, the newest first."""
        return [started.progress.job for started in reversed(self._jobs.values())]

    def job(self, job_id: str) -> GalleryJob:
        """Return a job.

        Raises:
            JobNotFoundError: There is no job with this id, or no longer.
        """
        return self._found(job_id).progress.job

    async def ended(self, job_id: str) -> GalleryJob:
        """Return a job once it has ended; errors as `job`."""
        started = self._found(job_id)
        await asyncio.wait([started.task])
        await asyncio.sleep(0)  # the done callback runs in the next iteration of the event loop
        return started.progress.job

    async def close(self) -> None:
        """Stop the running job; a job that is in preparation is rejected, as are later ones."""
        self._closed = True
        async with self._starting:
            for started in self._jobs.values():
                started.task.cancel()
            if self._jobs:
                await asyncio.wait([started.task for started in self._jobs.values()])

    def _start(self, request: tuple[JobKind, str, str | None], work: Work) -> GalleryJob:
        kind, item, _ = request
        job = GalleryJob(id=uuid.uuid4().hex, kind=kind, item=item, started_at=datetime.now(UTC))
        progress = JobProgress(job)
        task = asyncio.ensure_future(_run(work, progress))
        task.add_done_callback(lambda task: _note_end(progress, task))
        self._jobs[job.id] = _Started(progress, task, request)
        for former in list(self._jobs)[:-_KEPT]:
            del self._jobs[former]
        return job

    def _require_open(self, item: str) -> None:
        if self._closed:
            raise JobStoppedError("the service was stopped", item=item)

    def _require_none_running(self) -> None:
        for job in self.jobs():
            if job.state == "running":
                raise JobRunningError(f"the {job.kind} of {job.item!r} is running; one job runs at a time", item=job.id)

    def _found(self, job_id: str) -> _Started:
        try:
            return self._jobs[job_id]
        except KeyError:
            raise JobNotFoundError("there was no such job since the service started", item=job_id) from None


async def _run(work: Work, progress: JobProgress) -> None:
    await work(progress)


def _note_end(progress: JobProgress, task: asyncio.Task[None]) -> None:
    """Set the state of a job that ended."""
    problem = _problem(progress.job, task)
    state = "finished" if problem is None else "failed"
    progress.set(state=state, problem=problem, ended_at=datetime.now(UTC))


def _problem(job: GalleryJob, task: asyncio.Task[None]) -> Problem | None:
    if task.cancelled() and task.cancelling():
        return problem_of(JobStoppedError("the service was stopped", item=job.item))
    error = _raised(task)
    if error is None:
        return None
    if isinstance(error, AffError):
        _logger.warning("the %s of %r stopped early: %s", job.kind, job.item, error)
        return problem_of(error)
    _logger.error("the %s of %r failed", job.kind, job.item, exc_info=error)
    return problem_of(AffError("an unexpected error occurred; the service's log has the reason", item=job.item))


def _raised(task: asyncio.Task[None]) -> BaseException | None:
    """Return the error of the work, also a CancelledError if its task was not cancelled."""
    try:
        return task.exception()
    except asyncio.CancelledError as error:
        return error
