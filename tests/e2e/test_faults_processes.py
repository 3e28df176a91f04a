"""Services that are killed or terminated while they work: kill -9 and SIGTERM under load."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sized
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from aff_benchmarks.bench.measuring import with_children
from aff_toolkit.local.local_service import free_ports
from tests.e2e.conftest import ROOT
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.fake_gallery_encoder import FakeGalleryEncoder
from tests.support.fault_proxy import Slow
from tests.support.faulty_store import FaultyStore, acknowledged, becomes_ready, faulty_store, index, nearest, search
from tests.support.query_service import COLOURS

# Bounds of what normally takes moments: much longer, for machines that are busy.
LONGEST_S, CALL_S = 60, 30
SEARCH = "POST /collections/{name}/points/query"
FETCH = "POST /collections/{name}/points"

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FaultyStore]:
    async with faulty_store(tmp_path / "qdrant") as store:
        yield store


@asynccontextmanager
async def _process(module: str, settings: Mapping[str, str]) -> AsyncIterator[Process]:
    """Run a service; one that still runs in the end is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, cwd=ROOT, env={**os.environ, **settings}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _asked(calls: Mapping[str, int], name: str, count: int) -> None:
    """Wait until the store has received that many calls."""
    async with asyncio.timeout(LONGEST_S):
        while calls[name] < count:  # noqa: ASYNC110 - polled: the peer has no event
            await asyncio.sleep(0.002)


async def _answers(answered: Sized, count: int) -> None:
    """Wait until there are so many answers: until there is load."""
    async with asyncio.timeout(LONGEST_S):
        while len(answered) < count:  # noqa: ASYNC110 - polled: the callers have no event
            await asyncio.sleep(0.002)


async def _only_child(process_id: int) -> int:
    """Wait until a process has a single child: for a moment after a death there is another one, which repeats calls."""
    async with asyncio.timeout(LONGEST_S):
        while len(children := set(with_children([process_id])) - {process_id}) != 1:  # noqa: ASYNC110 - polled: they have no event
            await asyncio.sleep(0.02)
    return children.pop()


async def _started(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(LONGEST_S):
        while True:
            try:
                await becomes_ready(client, within_s=LONGEST_S)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


async def _query_settings(store: FaultyStore, directory: Path, port: int) -> dict[str, str]:
    service = await store.colour_gallery(directory)
    return {
        **store.environment,
        "QDRANT_TIMEOUT_S": str(CALL_S),
        "AFF_QUERY_BUNDLE_PATH": str(service.settings.bundle_path),
        "AFF_QUERY_PORT": str(port),
        "AFF_QUERY_MAX_ACTIVE_SEARCHES": "8",
    }


async def _search_in_the_end(client: httpx.AsyncClient, colour: str, failed: list[float]) -> httpx.Response:
    """Search as a caller does that tries again where that is worth while; note when it had to."""
    while True:
        try:
            answer = await search(client, colour)
            if answer.status_code not in {429, 503}:
                return answer
        except httpx.TransportError:
            failed.append(time.monotonic())
        await asyncio.sleep(0.05)


async def test_a_query_service_that_is_killed_under_load_costs_its_callers_a_retry_and_no_answer_is_wrong(
    store: FaultyStore, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    settings = await _query_settings(store, tmp_path, port)
    answered, failed, stop = list[str](), list[float](), asyncio.Event()

    async def search_until_stopped(client: httpx.AsyncClient) -> None:
        while not stop.is_set():
            for colour in COLOURS:
                assert nearest(await _search_in_the_end(client, colour, failed)) == colour
                answered.append(colour)

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=CALL_S) as client:
        async with _process("query_api", settings) as process:
            await _started(client)
            callers = [asyncio.create_task(search_until_stopped(client)) for _ in range(4)]
            await _answers(answered, 40)
            process.kill()
            await process.wait()
        before = len(answered)
        async with _process("query_api", settings):
            await _started(client)
            await _answers(answered, before + 40)
            stop.set()
            await asyncio.gather(*callers)
    assert failed, "no request noticed the kill"
    print(f"away for {max(failed) - min(failed):.1f} s, {len(answered)} answers, all right")  # noqa: T201 - with -s


async def test_an_embedding_process_that_is_killed_under_load_fails_no_request(
    store: FaultyStore, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    settings = await _query_settings(store, tmp_path, port)
    answered, killed, stop = list[str](), set[int](), asyncio.Event()

    async def search_until_stopped(client: httpx.AsyncClient) -> None:
        while not stop.is_set():
            for colour in COLOURS:
                answer = await search(client, colour)
                assert answer.status_code == 200, answer.text
                assert nearest(answer) == colour
                answered.append(colour)

    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=CALL_S) as client,
        _process("query_api", settings) as process,
    ):
        await _started(client)
        callers = [asyncio.create_task(search_until_stopped(client)) for _ in range(4)]
        for _ in range(2):
            await _answers(answered, len(answered) + 40)
            child = await _only_child(process.pid)
            os.kill(child, signal.SIGKILL)
            killed.add(child)
        await _answers(answered, len(answered) + 40)
        stop.set()
        await asyncio.gather(*callers)
    assert len(killed) == 2


async def test_a_query_service_that_is_terminated_answers_admitted_requests(store: FaultyStore, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = await _query_settings(store, tmp_path, port)
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=CALL_S) as client,
        _process("query_api", settings) as process,
    ):
        await _started(client)
        await store.proxy.become(Slow(0.5))
        before = store.peer.calls[SEARCH]
        searches = [asyncio.create_task(search(client, colour)) for colour in COLOURS]
        await _asked(store.peer.calls, SEARCH, before + len(COLOURS))
        process.send_signal(signal.SIGTERM)
        assert [nearest(answer) for answer in await asyncio.gather(*searches)] == list(COLOURS)
        async with asyncio.timeout(LONGEST_S):
            assert await process.wait() == 0
        with pytest.raises(httpx.ConnectError):
            await search(client, "red")


async def test_an_indexer_that_is_terminated_sends_the_receipts_of_admitted_images(
    store: FaultyStore, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    write_dummy_bundle(bundle, dimension=FakeGalleryEncoder.dimension)
    settings = {
        **store.environment,
        "QDRANT_TIMEOUT_S": str(CALL_S),
        "AFF_INDEX_BUNDLE_PATH": str(bundle),
        "AFF_INDEX_PORT": str(port),
    }
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=CALL_S) as client,
        _process("tests.support.serve_fake_indexer", settings) as process,
    ):
        await _started(client)
        await store.proxy.become(Slow(0.2))
        requests = [asyncio.create_task(index(client, number, number + 1)) for number in range(0, 8, 2)]
        await _asked(store.peer.calls, FETCH, len(requests))
        process.send_signal(signal.SIGTERM)
        reported = set[str]().union(*map(acknowledged, await asyncio.gather(*requests)))
        assert reported == {str(number) for number in range(8)} == set(await store.stored())
        async with asyncio.timeout(LONGEST_S):
            assert await process.wait() == 0
