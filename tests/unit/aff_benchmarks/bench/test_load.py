"""The load generator, against a minimal service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aff_benchmarks.bench.load import Connections, at_moments, http_request, open_loop

pytestmark = pytest.mark.anyio

REQUEST = http_request("/", b"request", "text/plain")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer"


@asynccontextmanager
async def _service(*, pause_s: float = 0.0, closes: bool = False) -> AsyncIterator[tuple[int, list[int]]]:
    """Answer requests one after the other; yield the port, and the number of requests by connection."""
    connections: list[int] = []
    turn, talks = asyncio.Lock(), []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())
        place = len(connections)
        connections.append(0)
        try:
            while await reader.readexactly(len(REQUEST)):
                async with turn:
                    await asyncio.sleep(pause_s)
                connections[place] += 1
                writer.write(ANSWER)
                if closes:
                    break
        except asyncio.IncompleteReadError:
            pass
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], connections
        await asyncio.gather(*filter(None, talks))


async def test_a_connection_is_reused() -> None:
    async with _service() as (port, requests):
        connections = Connections(f"http://127.0.0.1:{port}")
        assert [await connections.send(REQUEST) for _ in range(3)] == [(200, b"answer")] * 3
        connections.close()
    assert requests == [3]


async def test_a_connection_that_the_service_closed_is_not_reused() -> None:
    async with _service(closes=True) as (port, requests):
        connections = Connections(f"http://127.0.0.1:{port}")
        for _ in range(3):
            assert await connections.send(REQUEST) == (200, b"answer")
            await asyncio.sleep(0.3)
        connections.close()
    assert requests == [1, 1, 1]


async def test_latency_is_measured_from_the_due_time() -> None:
    async with _service(pause_s=0.02) as (port, _):  # 50 per second, with 100 requests per second
        outcome = await open_loop(port, [REQUEST], per_s=100, seconds=0.5)
    assert outcome.statuses == {200: 50}
    assert max(outcome.latencies_ms) > 300  # the last one waits for half of those before it


async def test_moments_at_equal_intervals() -> None:
    moments: list[tuple[int, float]] = []

    async def note(number: int, due: float) -> None:
        moments.append((number, due))

    await at_moments(note, per_s=50, seconds=0.2, even=True)
    assert [number for number, _ in moments] == list(range(10))
    first = moments[0][1]
    assert [due - first for _, due in moments] == pytest.approx([0.02 * number for number in range(10)])
