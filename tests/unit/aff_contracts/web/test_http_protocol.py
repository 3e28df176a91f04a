"""A connection that keeps the head of its request back is closed; a real socket, a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from fastapi import FastAPI, Request
from uvicorn.server import ServerState

from aff_contracts.web.http_protocol import limited_http
from aff_contracts.web.listen_settings import ListenSettings
from aff_contracts.web.service import create_service

HEAD_TIMEOUT_S = 0.3
MAX_HEAD_BYTES = 2048
LONG_S = 10.0

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _nothing(_: FastAPI) -> AsyncIterator[None]:
    yield


@pytest.fixture
async def port() -> AsyncIterator[int]:
    app = create_service(
        title="t",
        description="d",
        version="1",
        lifespan=_nothing,
        listen=ListenSettings(port=0, max_body_bytes=10_000, body_timeout_s=0.3),
    )

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    config = uvicorn.Config(app, http=limited_http(HEAD_TIMEOUT_S, MAX_HEAD_BYTES), lifespan="off", log_level="error")
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: config.http_protocol_class(config=config, server_state=ServerState(), app_state={}),  # type: ignore[call-arg]
        "127.0.0.1",
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _answer(port: int, *pieces: bytes) -> bytes:
    """Send pieces, and return everything until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(LONG_S):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


GOOD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("piece", [b"", b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n"])
async def test_a_head_that_does_not_end_closes_the_connection(port: int, piece: bytes) -> None:
    assert await _answer(port, piece) == b""


async def test_so_does_the_second_one_of_a_connection(port: int) -> None:
    answer = await _answer(port, GOOD, b"GET /healthz HTTP/1.1\r\nHo")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_head_without_end_is_not_collected(port: int) -> None:
    long = b"GET /healthz HTTP/1.1\r\nX-A: " + b"a" * MAX_HEAD_BYTES
    began = asyncio.get_running_loop().time()
    assert await _answer(port, long) == b""
    assert asyncio.get_running_loop().time() - began < HEAD_TIMEOUT_S


async def test_a_head_in_pieces_is_answered(port: int) -> None:
    answer = await _answer(port, b"GET /healthz HTTP/1.1\r\n", b"Host: x\r\nConnection: close", b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


async def test_a_body_that_is_kept_back_is_told_of_and_the_connection_closed(port: int) -> None:
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


async def test_what_is_no_http_is_refused(port: int) -> None:
    assert (await _answer(port, b"\x16\x03\x01 hello\r\n\r\n")).startswith(b"HTTP/1.1 400")
