from __future__ import annotations

import asyncio

import pytest

from aff_shared.errors import BackupError, JobNotFoundError, JobRunningError, JobStoppedError, StoreUnavailableError
from aff_shared.schemas.gallery import GalleryJob
from gallery_indexer.collections.gallery_jobs import GalleryJobs, JobProgress, Work

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class _PanicException(BaseException):
    """An error of the embedded engine, which is not an Exception."""


async def _nothing(_: JobProgress) -> None:
    pass


async def _endless(_: JobProgress) -> None:
    await asyncio.Event().wait()


async def _start(jobs: GalleryJobs, work: Work, *, item: str = "b", key: str | None = None) -> GalleryJob:
    async def prepare() -> Work:
        await asyncio.sleep(0)
        return work

    return await jobs.start("backup", item, prepare, key=key)


@pytest.mark.parametrize(
    ("error", "code", "detail"),
    [
        (StoreUnavailableError("the server went away"), "store_unavailable", "the server went away"),
        (
            RuntimeError("shapes do not fit"),
            "internal_error",
            "an unexpected error occurred; the service's log has the reason",
        ),
        (
            _PanicException("index out of bounds"),
            "internal_error",
            "an unexpected error occurred; the service's log has the reason",
        ),
        (MemoryError(), "internal_error", "an unexpected error occurred; the service's log has the reason"),
        (asyncio.CancelledError(), "internal_error", "an unexpected error occurred; the service's log has the reason"),
    ],
)
async def test_a_job_ends_after_any_error_and_another_can_start(
    error: BaseException, code: str, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(progress: JobProgress) -> None:
        progress.expect(9)
        progress.advance(4)
        raise error

    jobs = GalleryJobs()
    ended = await jobs.ended((await _start(jobs, failing)).id)
    assert (ended.state, ended.done, ended.total) == ("failed", 4, 9)
    assert ended.problem is not None
    assert (ended.problem.code, ended.problem.detail) == (code, detail)
    assert ended.ended_at is not None
    assert str(error) in caplog.text
    assert (await jobs.ended((await _start(jobs, _nothing)).id)).state == "finished"


async def test_a_second_job_is_rejected_with_the_id_of_the_first() -> None:
    jobs = GalleryJobs()
    first = await _start(jobs, _endless)
    with pytest.raises(JobRunningError, match="the backup of 'b' is running") as caught:
        await _start(jobs, _nothing)
    assert caught.value.item == first.id
    await jobs.close()


async def test_of_two_jobs_started_at_the_same_time_one_is_rejected() -> None:
    jobs = GalleryJobs()
    outcomes = await asyncio.gather(*(_start(jobs, _endless) for _ in range(2)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [GalleryJob, JobRunningError]
    await jobs.close()


async def test_a_job_that_fails_in_preparation_is_not_listed() -> None:
    async def prepare() -> Work:
        raise BackupError("there is a backup of that name")

    jobs = GalleryJobs()
    with pytest.raises(BackupError):
        await jobs.start("backup", "b", prepare)
    assert jobs.jobs() == []


async def test_a_key_identifies_one_request_for_one_item() -> None:
    jobs = GalleryJobs()
    first = await _start(jobs, _nothing, key="k")
    await jobs.ended(first.id)
    assert (await _start(jobs, _endless, key="k")).id == first.id
    assert (await _start(jobs, _nothing, item="c", key="k")).id != first.id


async def test_the_last_32_jobs_are_listed() -> None:
    jobs = GalleryJobs()
    ids = []
    for _ in range(40):
        ids.append((await _start(jobs, _nothing)).id)
        await jobs.ended(ids[-1])
    assert [job.id for job in jobs.jobs()] == ids[:7:-1]
    with pytest.raises(JobNotFoundError):
        jobs.job(ids[0])


async def test_a_job_that_is_running_when_the_service_stops_fails() -> None:
    jobs = GalleryJobs()
    started = await _start(jobs, _endless)
    await jobs.close()
    ended = jobs.job(started.id)
    assert ended.problem is not None
    assert (ended.state, ended.problem.code) == ("failed", "job_stopped")


async def test_a_job_in_preparation_when_the_service_stops_does_not_start() -> None:
    preparing, go_on = asyncio.Event(), asyncio.Event()

    async def prepare() -> Work:
        preparing.set()
        await go_on.wait()
        return _nothing

    jobs = GalleryJobs()
    starting = asyncio.create_task(jobs.start("backup", "b", prepare))
    await preparing.wait()
    closing = asyncio.create_task(jobs.close())
    await asyncio.sleep(0)
    assert not closing.done()
    go_on.set()
    with pytest.raises(JobStoppedError):
        await starting
    await closing
    with pytest.raises(JobStoppedError):
        await _start(jobs, _nothing)
    assert jobs.jobs() == []
