"""Limits on connections and malformed requests, with a real socket and a real server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from uvicorn.server import ServerState

from aff_shared.web.http_protocol import limited_http
from aff_shared.web.service import create_service
from aff_shared.web.settings import AccessSettings, ListenSettings

HEAD_TIMEOUT_S = 0.3
KEEP_ALIVE_S = 1
MAX_HEAD_BYTES = 2048
MAX_CONNECTIONS = 3
LONG_S = 10.0

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _nothing(_: FastAPI) -> AsyncIterator[None]:
    yield


@dataclass(frozen=True)
class _Service:
    """A service that listens on a port."""

    app: FastAPI
    port: int

    def metric(self, name: str, **labels: str) -> float:
        return self.app.state.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def service() -> AsyncIterator[_Service]:
    access = AccessSettings(cors_origins=("https://shop.example",))
    listen = ListenSettings(port=0, max_body_bytes=10_000, body_timeout_s=0.3, access=access)
    app = create_service(title="t", description="d", version="1", lifespan=_nothing, listen=listen)

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.post("/refusing")
    async def refusing() -> int:
        return 0

    @app.get("/broken")
    async def broken() -> StreamingResponse:
        return StreamingResponse(_half())

    http = limited_http(HEAD_TIMEOUT_S, MAX_HEAD_BYTES, MAX_CONNECTIONS)
    config = uvicorn.Config(app, http=http, lifespan="off", log_level="critical", timeout_keep_alive=KEEP_ALIVE_S)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
        "127.0.0.1",
    )
    async with server:
        yield _Service(app, server.sockets[0].getsockname()[1])


@pytest.fixture
def port(service: _Service) -> int:
    return service.port


async def _half() -> AsyncIterator[bytes]:
    yield b"half"
    raise RuntimeError("a bug")


async def _answer(port: int, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Send pieces, and return everything until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(LONG_S):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


GOOD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_connection_that_begins_no_request_is_closed(port: int) -> None:
    assert await _answer(port) == b""


@pytest.mark.parametrize("piece", [b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n"])
async def test_a_head_that_does_not_end_is_answered_and_the_connection_closed(port: int, piece: bytes) -> None:
    answer = await _answer(port, piece)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"head_timeout" in answer


async def test_so_is_the_second_one_of_a_connection(port: int) -> None:
    answer = await _answer(port, GOOD, b"GET /healthz HTTP/1.1\r\nHo")
    assert _statuses(answer) == [b"200", b"408"]


async def test_a_head_without_end_is_not_collected(port: int) -> None:
    long = b"GET /healthz HTTP/1.1\r\nX-A: " + b"a" * MAX_HEAD_BYTES
    began = asyncio.get_running_loop().time()
    assert (await _answer(port, long)).startswith(b"HTTP/1.1 431")
    assert asyncio.get_running_loop().time() - began < HEAD_TIMEOUT_S


async def test_a_head_in_pieces_is_answered(port: int) -> None:
    answer = await _answer(port, b"GET /healthz HTTP/1.1\r\n", b"Host: x\r\nConnection: close", b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


async def test_a_body_that_does_not_arrive_is_answered_and_the_connection_closed(port: int) -> None:
    answer = await _answer(port, b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", b"half")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body_timeout" in answer


async def test_a_body_takes_longer_than_a_head_may(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /length HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\na")
    await asyncio.sleep(0.2)
    writer.write(b"b")
    assert (await reader.read()).endswith(b"2")
    writer.close()


async def test_a_head_in_one_piece_is_held_to_the_limit_too(port: int) -> None:
    long = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n"
    assert (await _answer(port, long)).startswith(b"HTTP/1.1 431")


async def test_a_trailer_without_end_is_not_collected(port: int) -> None:
    head = b"POST /length HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await _answer(port, head + b"4\r\nbody\r\n0\r\n", b"X-A: " + b"a" * MAX_HEAD_BYTES, pause_s=0.05)
    assert answer.startswith(b"HTTP/1.1 431")


UNREADABLE = {
    "TLS": b"\x16\x03\x01 hello\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method that there is not": b"FETCH / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tunnel": b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without a colon": b"GET /healthz HTTP/1.1\r\nHost\r\n\r\n",
    "two lengths": b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
    "a chunk of no length": b"POST /length HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("sent", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_is_no_http_is_a_problem_as_any_other(
    service: _Service, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "aff_shared.web.observability"):
        answer = await _answer(service.port, sent)
    _require_frame(answer, 400, "request_malformed")
    assert [record.status for record in caplog.records if record.name.endswith("observability")] == [400]  # type: ignore[attr-defined]
    assert service.metric("aff_http_problems_total", code="request_malformed") == 1


async def test_what_is_no_http_waits_for_the_answers_before_it(port: int) -> None:
    assert _statuses(await _answer(port, GOOD + GOOD + b"nonsense\r\n\r\n")) == [b"200", b"200", b"400"]


async def test_a_connection_too_many_is_a_problem_as_any_other(
    service: _Service, caplog: pytest.LogCaptureFixture
) -> None:
    held = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(MAX_CONNECTIONS)]
    await asyncio.sleep(0.05)
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nOrigin: https://shop.example\r\nX-Request-Id: mine\r\n\r\n"
    with caplog.at_level("INFO", "aff_shared.web.observability"):
        answer = await _answer(service.port, request)
    _require_frame(answer, 503, "connection_limit")
    assert b"\r\nretry-after: 1\r\n" in answer
    assert b"\r\nx-request-id: mine\r\n" in answer
    assert b"\r\naccess-control-allow-origin: https://shop.example\r\n" in answer
    assert [(line.path, line.status) for line in caplog.records if line.name.endswith("observability")] == [  # type: ignore[attr-defined]
        ("/healthz", 503)
    ]
    assert service.metric("aff_http_problems_total", code="connection_limit") == 1
    for _, writer in held:
        writer.close()
    await asyncio.sleep(0.05)
    assert (await _answer(service.port, GOOD)).startswith(b"HTTP/1.1 200")


async def test_a_connection_from_before_the_limit_was_reached_is_served_on(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GOOD)
    assert (await reader.readuntil(b'alive"}')).startswith(b"HTTP/1.1 200")
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
    await asyncio.sleep(0.05)
    writer.write(GOOD)
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    for _, one in [*held, (reader, writer)]:
        one.close()


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
async def test_another_protocol_is_not_taken_up_and_the_request_answered_as_it_is(port: int, protocol: bytes) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\nSec-WebSocket-Key: AAAA\r\n"
    answer = await _answer(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n", b"\x81\x05hello")
    assert _statuses(answer) == [b"200", b"400"]
    posted = b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n" + upgrade + b"\r\nabc"
    answer = await _answer(port, posted + GOOD)
    assert _statuses(answer) == [b"200", b"200"]
    assert b"\r\n\r\n3HTTP/1.1" in answer


async def test_a_body_that_would_be_rejected_is_not_requested(port: int) -> None:
    head = b"POST /length HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n"
    _require_frame(await _answer(port, head + b"Content-Length: 10001\r\n\r\n"), 413, "body_too_large")
    assert _statuses(await _answer(port, head + b"Content-Length: 3\r\n\r\n", b"abc")) == [b"100", b"200"]


async def test_a_response_that_fails_midway_is_cut_off_logged_and_counted(
    service: _Service, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "aff_shared.web"):
        answer = await _answer(service.port, b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.endswith(b"4\r\nhalf\r\n")  # without the empty chunk that ends a body
    failed, line = caplog.records
    assert (failed.levelname, failed.getMessage()) == ("ERROR", "GET /broken failed")
    assert (line.status, line.complete) == (200, False)  # type: ignore[attr-defined]
    assert service.metric("aff_http_problems_total", code="internal_error") == 1


@pytest.mark.parametrize("rest", [b"", b"a", b"aa", b"\r\n"])
async def test_a_connection_is_not_kept_by_what_is_no_further_request(port: int, rest: bytes) -> None:
    head = b"POST /refusing HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (0 if b"\r" in rest else 2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    await reader.readuntil(b"\r\n\r\n")
    writer.write(rest)
    async with asyncio.timeout(KEEP_ALIVE_S + 2):
        await reader.read()
    writer.close()


def _statuses(answer: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1.1 (\d{3}) ", answer)


def _require_frame(answer: bytes, status: int, code: str) -> None:
    """Require the response to have everything that the application adds to any problem."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(body)["code"] == code
    for header in (b"content-type: application/problem+json", b"x-content-type-options: nosniff", b"connection: close"):
        assert b"\r\n" + header in head
    assert re.search(rb"\r\nx-request-id: [\w.-]+", head)
