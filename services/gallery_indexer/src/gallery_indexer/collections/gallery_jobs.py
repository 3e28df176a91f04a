"""Work on the gallery that may take longer than a request: one starts it, others ask about it.

Whatever the work is, it is a function of a JobProgress. One job runs at a time, for each concerns the whole gallery.
A job is `running`, and ends as `finished` or `failed`, whatever was raised. Jobs belong to the process: one that is
stopped fails its job, and the next one knows none of them.
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
    """Where the work of a job says how far it is.

    Attributes:
        job: As those who ask see it.
    """

    def __init__(self, job: GalleryJob) -> None:
        self.job = job

    def expect(self, images: int) -> None:
        """Set how many images there are."""
        self.set(total=images)

    def advance(self, images: int) -> None:
        """Count images that are done."""
        self.set(done=self.job.done + images)

    def note(self, result: JobResult) -> None:
        """Set what came of it, at the end or as far as it is known."""
        self.set(result=result)

    def set(self, **values: object) -> None:
        """Replace fields of the job."""
        self.job = self.job.model_copy(update=values)


Work = Callable[[JobProgress], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Started:
    """A job, and by which request it was started."""

    progress: JobProgress
    task: asyncio.Task[None]
    request: tuple[JobKind, str, str | None]


class GalleryJobs:
    """The jobs of this process: the one that runs, and the last ones that ended."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Started] = {}
        self._starting = asyncio.Lock()
        self._closed = False

    async def start(
        self, kind: JobKind, item: str, prepare: Callable[[], Awaitable[Work]], *, key: str | None = None
    ) -> GalleryJob:
        """Start a job.

        Args:
            kind: What it does.
            item: Name of what it is done with.
            prepare: Checks what can be checked at once, and returns the work.
            key: Of the request: one that is sent again returns the job that it has started.

        Raises:
            JobRunningError: A job runs already.
            JobStoppedError: The jobs were closed.
            AffError: What `prepare` raises.
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
            return self._begin(request, work)

    def jobs(self) -> list[GalleryJob]:
        """Return the jobs, the newest first."""
        return [started.progress.job for started in reversed(self._jobs.values())]

    def job(self, job_id: str) -> GalleryJob:
        """Return a job.

        Raises:
            JobNotFoundError: There is none of that id, or it ended before many others.
        """
        return self._found(job_id).progress.job

    async def ended(self, job_id: str) -> GalleryJob:
        """Return a job once it has ended; errors as `job`."""
        started = self._found(job_id)
        await asyncio.wait([started.task])
        await asyncio.sleep(0)  # its end is noted in the loop's next turn
        return started.progress.job

    async def close(self) -> None:
        """Stop the running job; none begins any more, and one that is being prepared is waited for and refused."""
        self._closed = True
        async with self._starting:
            for started in self._jobs.values():
                started.task.cancel()
            if self._jobs:
                await asyncio.wait([started.task for started in self._jobs.values()])

    def _begin(self, request: tuple[JobKind, str, str | None], work: Work) -> GalleryJob:
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
            raise JobNotFoundError("there is no such job since the service was started", item=job_id) from None


async def _run(work: Work, progress: JobProgress) -> None:
    await work(progress)


def _note_end(progress: JobProgress, task: asyncio.Task[None]) -> None:
    """Set the state of a job that ended, however it did."""
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
        _logger.warning("the %s of %r ended early: %s", job.kind, job.item, error)
        return problem_of(error)
    _logger.error("the %s of %r failed", job.kind, job.item, exc_info=error)
    return problem_of(AffError("the service failed on it; its log has the reason", item=job.item))


def _raised(task: asyncio.Task[None]) -> BaseException | None:
    """Return what the work raised: a CancelledError, too, where nobody cancelled its task."""
    try:
        return task.exception()
    except asyncio.CancelledError as error:
        return error
