from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from aff_shared.errors import EncoderError, TruncatedImageError, WorkerError
from aff_shared.workers.worker_life import WorkerStartError
from aff_shared.workers.worker_process import WorkerProcess
from tests.support.worker_openers import Done, Task

HUNG = """
import asyncio
from aff_shared.workers.worker_process import WorkerProcess
from tests.support.worker_openers import Done, Task

async def main():
    worker = WorkerProcess("works", "tests.support.worker_openers:open_tasks", Task(), timeout_s=60)
    answer, _ = await worker.call(Task(), [], Done)
    asyncio.get_running_loop().call_later(0.2, lambda: print(answer.pid, flush=True))
    await worker.call(Task(does="hang"), [], Done)

asyncio.run(main())
"""

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}  # as services do


@asynccontextmanager
async def _worker(opener: str = "open_tasks", **others: Any) -> AsyncIterator[WorkerProcess]:
    worker = WorkerProcess("works", f"tests.support.worker_openers:{opener}", Task(), **{"timeout_s": 60.0, **others})
    yield worker
    await asyncio.to_thread(worker.close)


async def _pid(worker: WorkerProcess, does: str = "echo", seconds: float = 0.0) -> int:
    return (await worker.call(Task(does=does, seconds=seconds), [], Done))[0].pid


async def test_it_answers_with_what_the_function_returns() -> None:
    large = os.urandom(3_000_000)
    async with _worker() as worker:
        answer, frame = await worker.call(Task(), [b"", large], Done)
        assert answer.pid != os.getpid()
        assert frame.parts == (b"", large)


async def test_an_error_is_raised_here_and_the_process_lives_on() -> None:
    async with _worker() as worker:
        pid = await _pid(worker)
        with pytest.raises(TruncatedImageError) as caught:
            await _pid(worker, "raise ours")
        assert caught.value.item == "half.jpg"
        with pytest.raises(EncoderError, match="ZeroDivisionError: by zero"):
            await _pid(worker, "raise foreign")
        assert await _pid(worker) == pid


async def test_an_opener_that_fails_is_called_again_by_the_next_call() -> None:
    async with _worker("open_nothing") as worker:
        for _ in range(2):
            with pytest.raises(TruncatedImageError, match="cannot be opened"):
                await worker.start()


@pytest.mark.parametrize("does", ["pickle", "other", "large"])
async def test_an_invalid_answer_kills_the_process(does: str) -> None:
    async with _worker(max_answer_bytes=2**19) as worker:
        pid = await _pid(worker)
        with pytest.raises(WorkerError):
            await _pid(worker, does)
        assert await _pid(worker) != pid


async def test_a_call_that_hangs_is_ended_and_concurrent_calls_are_repeated() -> None:
    async with _worker(threads=3, timeout_s=1.0) as worker:
        pid = await _pid(worker)
        beside = [asyncio.create_task(worker.call(Task(seconds=1.5), [], Done, items=9)) for _ in range(2)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        with pytest.raises(WorkerError, match="did not answer within 1 s"):
            await _pid(worker, "hang")
        assert time.monotonic() - began < 30
        assert all(answer.pid != pid for answer, _ in await asyncio.gather(*beside))


async def test_a_call_whose_process_is_killed_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    async with _worker() as worker:
        pid = await _pid(worker)
        calling = asyncio.create_task(_pid(worker, seconds=0.5))
        await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        assert await calling != pid
    assert caplog.messages == ["the process that works died; another one replaces it"]


async def test_a_call_that_kills_its_process_fails_alone() -> None:
    async with _worker(threads=4) as worker:
        tasks = ["echo", "die", "echo", "die", "echo"] * 2
        outcomes = await asyncio.gather(*(_pid(worker, task, 0.1) for task in tasks), return_exceptions=True)
        assert [isinstance(one, WorkerError) for one in outcomes] == [task == "die" for task in tasks]


@pytest.mark.slow
async def test_nothing_is_left_of_processes_that_died() -> None:
    async with _worker() as worker:
        await _pid(worker)
        await asyncio.sleep(0.1)
        before = _descriptors()
        for _ in range(3):
            with pytest.raises(WorkerError):
                await _pid(worker, "die")
        await _pid(worker)
        assert _descriptors() == before


async def test_a_process_that_does_not_start_is_not_blamed_on_the_request() -> None:
    async with _worker("open_never") as worker:
        with pytest.raises(WorkerStartError, match=r"cannot be started.*no such library"):
            await _pid(worker)


async def test_closing_ends_a_call_that_hangs() -> None:
    async with _worker() as worker:
        pid = await _pid(worker)
        calling = asyncio.create_task(_pid(worker, "hang"))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(worker.close)
        with pytest.raises(WorkerError):
            await calling
        assert _state(pid) == "X"


async def test_a_call_that_was_given_up_is_not_made_again_in_a_process_that_outlives_the_closing() -> None:
    async with _worker(threads=2, timeout_s=3.0) as worker:
        await _pid(worker)
        calling = asyncio.create_task(_pid(worker, "hang"))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(worker.close)
        with pytest.raises(WorkerError, match="has been closed"):
            await calling


async def test_a_request_that_cannot_be_sent_leaves_the_process_to_the_others() -> None:
    async with _worker() as worker:
        await worker.start()
        with pytest.raises(ValueError, match="surrogates"):
            await _pid(worker, "no text: \ud800")
        async with asyncio.timeout(20):
            await _pid(worker)


def test_a_process_that_hangs_ends_with_the_service_that_was_killed() -> None:
    with _hung_service() as (service, worker):
        assert _state(worker) not in "ZX"
        service.kill()
    until = time.monotonic() + 20
    while _state(worker) not in "ZX":
        assert time.monotonic() < until
        time.sleep(0.01)


@contextmanager
def _hung_service() -> Iterator[tuple[subprocess.Popen[str], int]]:
    with subprocess.Popen([sys.executable, "-c", HUNG], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        yield service, int(service.stdout.readline())


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
