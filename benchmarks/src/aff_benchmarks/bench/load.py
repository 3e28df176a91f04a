"""A load generator that uses little of the machine itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import SplitResult, urlsplit

import numpy as np

_BOUNDARY = "aff-bench-load"
MULTIPART = f"multipart/form-data; boundary={_BOUNDARY}"
_IDLE_S = 2.0  # services close connections after 5 s without a request


@dataclass(slots=True)
class Outcome:
    """The outcome of requests.

    Attributes:
        latencies_ms: Latencies of the responses of status 200; in an open loop, from the due time of the request.
        seconds: Seconds from the first request to the last response.
    """

    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def per_s(self) -> float:
        """Responses of status 200 per second."""
        return self.statuses[HTTPStatus.OK] / self.seconds

    @property
    def rejected(self) -> float:
        """Share of the requests that were rejected with status 429."""
        return self.statuses[HTTPStatus.TOO_MANY_REQUESTS] / max(1, self.statuses.total())

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latencies."""
        return float(np.percentile(self.latencies_ms, percent))

    def note(self, status: int, began: float) -> None:
        """Record a response that has just arrived."""
        self.statuses[status] += 1
        if status == HTTPStatus.OK:
            self.latencies_ms.append(1000 * (time.perf_counter() - began))


class _Connection(asyncio.Protocol):
    """A connection for one request at a time, and responses with a Content-Length."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport), "TCP is bidirectional"
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
            self._answer.set_result((int(lines[0].split()[1]), bytes(body)))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed by the service"))

    @property
    def closed(self) -> bool:
        """Whether the connection cannot send requests any more."""
        return self._transport is None or self._transport.is_closing()

    async def send(self, request: bytes) -> tuple[int, bytes]:
        assert self._transport is not None, "the connection is open"
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Connections:
    """A pool of connections to a service, one per concurrent request; the path of its address is ignored."""

    def __init__(self, url: str) -> None:
        self._url: SplitResult = urlsplit(url)
        self._idle: list[tuple[_Connection, float]] = []

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; return status and body of the response.

        Raises:
            OSError: The service cannot be reached, or closed the connection.
        """
        connection = await self._take()
        try:
            answer = await connection.send(request)
        except BaseException:
            connection.close()
            raise
        self._idle.append((connection, time.perf_counter()))
        return answer

    def close(self) -> None:
        """Close the idle connections."""
        for connection, _ in self._idle:
            connection.close()
        self._idle.clear()

    async def _take(self) -> _Connection:
        if self._idle:
            connection, since = self._idle.pop()
            if not connection.closed and time.perf_counter() - since < _IDLE_S:
                return connection
            connection.close()
            self.close()  # the others have been idle for longer
        tls = self._url.scheme == "https"
        port = self._url.port or (443 if tls else 80)
        loop = asyncio.get_running_loop()
        _, opened = await loop.create_connection(_Connection, self._url.hostname or "localhost", port, ssl=tls or None)
        return opened


def http_request(
    path: str, body: bytes, content_type: str, *, headers: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """Return a POST request; `headers` may override the host."""
    given = {"Host": "localhost", "Content-Type": content_type, "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def raw_requests(photographs: Sequence[bytes]) -> list[bytes]:
    """Return searches with the photograph as the body."""
    return [http_request("/search", photograph, "image/jpeg") for photograph in photographs]


def form_requests(photographs: Sequence[bytes]) -> list[bytes]:
    """Return searches with the photograph as the field `image` of a form."""
    forms = (multipart([("image", "photograph.jpg", photograph)]) for photograph in photographs)
    return [http_request("/search", form, MULTIPART) for form in forms]


def multipart(parts: Sequence[tuple[str, str | None, bytes]]) -> bytes:
    """Return a form of content type MULTIPART from fields, their file names or None, and their contents."""
    lines = []
    for name, file_name, content in parts:
        file_part = "" if file_name is None else f'; filename="{file_name}"'
        disposition = f'Content-Disposition: form-data; name="{name}"{file_part}'
        lines.append(f"--{_BOUNDARY}\r\n{disposition}\r\n\r\n".encode() + content)
    return b"\r\n".join([*lines, f"--{_BOUNDARY}--\r\n".encode()])


async def closed_loop(port: int, requests: Sequence[bytes], *, clients: int, count: int) -> Outcome:
    """Send `count` requests from clients that each wait for the response before the next request."""
    outcome, numbers, connections = Outcome(), iter(range(count)), Connections(_local(port))

    async def client() -> None:
        for number in numbers:
            began = time.perf_counter()
            status, _ = await connections.send(requests[number % len(requests)])
            outcome.note(status, began)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    outcome.seconds = time.perf_counter() - began
    connections.close()
    return outcome


async def open_loop(port: int, requests: Sequence[bytes], *, per_s: float, seconds: float) -> Outcome:
    """Send requests at random moments (a Poisson process), regardless of earlier responses."""
    outcome, connections = Outcome(), Connections(_local(port))

    async def send(number: int, due: float) -> None:
        status, _ = await connections.send(requests[number % len(requests)])
        outcome.note(status, due)

    began = time.perf_counter()
    await at_moments(send, per_s=per_s, seconds=seconds)
    outcome.seconds = time.perf_counter() - began
    connections.close()
    return outcome


async def at_moments(
    start: Callable[[int, float], Coroutine[Any, Any, None]], *, per_s: float, seconds: float, even: bool = False
) -> None:
    """Start coroutines at scheduled moments, regardless of earlier ones, and wait for all of them.

    Args:
        start: Function of the coroutine's number, from 0, and its due time on the clock `time.perf_counter`.
        per_s: Coroutines per second.
        seconds: Approximate time from the first moment to the last.
        even: Whether intervals are equal; otherwise moments are random (a Poisson process).
    """
    count = round(per_s * seconds)
    gaps = np.full(count, 1 / per_s) if even else np.random.default_rng(0).exponential(1 / per_s, count)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as running:
        for number, moment in enumerate(np.cumsum(gaps)):
            due = began + float(moment)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            running.create_task(start(number, due))


def _local(port: int) -> str:
    return f"http://127.0.0.1:{port}"
