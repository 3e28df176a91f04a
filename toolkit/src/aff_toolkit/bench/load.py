"""Load on a service, by a client that takes little of the machine itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

_OK, _REFUSED = 200, 429


@dataclass(slots=True)
class Outcome:
    """What became of requests.

    Attributes:
        latencies_ms: Of the answers of status 200; of an open loop, from the moment when the request was due.
        statuses: Answers by status.
        seconds: From the first request to the last answer.
    """

    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def per_s(self) -> float:
        """Answers of status 200 a second."""
        return self.statuses[_OK] / self.seconds

    @property
    def refused(self) -> float:
        """Share of the requests that were answered with 429."""
        return self.statuses[_REFUSED] / max(1, self.statuses.total())

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latencies."""
        return float(np.percentile(self.latencies_ms, percent))

    def note(self, status: int, began: float) -> None:
        """Take an answer that has just come."""
        self.statuses[status] += 1
        if status == _OK:
            self.latencies_ms.append(1000 * (time.perf_counter() - began))


class _Connection(asyncio.Protocol):
    """One request at a time, answers with a Content-Length."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answer: asyncio.Future[int] | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport), "TCP goes both ways"
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or self._answer is None:
            return
        lines = bytes(head).lower().split(b"\r\n")
        (length,) = (int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        if len(body) >= length:
            self._received.clear()
            self._answer.set_result(int(lines[0].split()[1]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed by the service"))

    async def ask(self, request: bytes) -> int:
        assert self._transport is not None, "it was opened"
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def _connect(port: int) -> _Connection:
    _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", port)
    return connection


def http_request(path: str, body: bytes, content_type: str) -> bytes:
    """Return a POST request."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def closed_loop(port: int, requests: Sequence[bytes], *, clients: int, count: int) -> Outcome:
    """Have clients ask one request after the other, `count` in all."""
    outcome, numbers = Outcome(), iter(range(count))

    async def client() -> None:
        connection = await _connect(port)
        for number in numbers:
            began = time.perf_counter()
            outcome.note(await connection.ask(requests[number % len(requests)]), began)
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    outcome.seconds = time.perf_counter() - began
    return outcome


async def open_loop(port: int, requests: Sequence[bytes], *, per_s: float, seconds: float) -> Outcome:
    """Ask at random moments (a Poisson process), whether earlier requests were answered or not."""
    rng = np.random.default_rng(0)
    moments = np.cumsum(rng.exponential(1 / per_s, round(per_s * seconds)))
    outcome, idle = Outcome(), [await _connect(port) for _ in range(16)]

    async def ask(request: bytes, due: float) -> None:
        connection = idle.pop() if idle else await _connect(port)
        outcome.note(await connection.ask(request), due)
        idle.append(connection)

    began, tasks = time.perf_counter(), []
    for number, moment in enumerate(moments):
        await asyncio.sleep(max(0.0, began + moment - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(requests[number % len(requests)], began + moment)))
    await asyncio.gather(*tasks)
    outcome.seconds = time.perf_counter() - began
    for connection in idle:
        connection.close()
    return outcome
