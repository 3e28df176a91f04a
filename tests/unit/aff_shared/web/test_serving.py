"""How a service listens, over real sockets."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from aff_shared.errors import ListenError
from aff_shared.web.service import create_service
from aff_shared.web.serving import ServedApp, prepare_process, run_on_event_loop, serve
from aff_shared.web.settings import AccessSettings, ListenSettings, Scope
from tests.support.tiny_bundle import TINY_BUNDLE

pytestmark = pytest.mark.anyio


def _ipv6_is_there() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@asynccontextmanager
async def _nothing(_: FastAPI) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _served(host: str, **settings: Any) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    access = AccessSettings(anonymous_scopes=(Scope.SEARCH,))
    listen = ListenSettings(host=host, port=port, max_body_bytes=1000, body_timeout_s=1.0, access=access, **settings)
    app = create_service(title="t", description="d", version="1", lifespan=_nothing, listen=listen)
    task = asyncio.create_task(serve([ServedApp(app, listen)]))
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=5)) as client:
        address = listen.address.replace("0.0.0.0", "127.0.0.1")
        assert (await client.get(f"{address}/healthz")).status_code == 200
    yield port
    signal.raise_signal(signal.SIGTERM)
    await task


async def _answers(host: str, port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return False
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.startswith(b"HTTP/1.1 200")


@pytest.mark.skipif(not _ipv6_is_there(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("host", "ipv4", "ipv6"),
    [("::", True, True), ("[::]", True, True), ("0::0", True, True), ("::1", False, True), ("0.0.0.0", True, False)],
)
async def test_every_address_is_that_of_ipv4_too(host: str, ipv4: bool, ipv6: bool) -> None:
    async with _served(host) as port:
        assert await _answers("127.0.0.1", port) is ipv4
        assert await _answers("::1", port) is ipv6


async def test_behind_all_limits_a_connection_too_many_is_rejected() -> None:
    async with _served("127.0.0.1", max_connections=2) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await asyncio.sleep(0.05)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 503
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.05)
        assert await _answers("127.0.0.1", port)


async def test_an_idle_connection_is_kept_for_its_time() -> None:
    async with _served("127.0.0.1", keep_alive_timeout_s=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b'alive"}')
        began = asyncio.get_running_loop().time()
        assert await reader.read() == b""
        assert 0.9 < asyncio.get_running_loop().time() - began < 5
        writer.close()


def test_idle_connections_are_kept_longer_than_clients_and_proxies_keep_theirs() -> None:
    httpx_s, load_balancers_s, nginx_s = 5, 60, 60
    listen = ListenSettings(port=0, max_body_bytes=1000, body_timeout_s=1.0)
    assert listen.keep_alive_timeout_s > max(httpx_s, load_balancers_s, nginx_s)


@pytest.mark.skipif(not _ipv6_is_there(), reason="this machine has no IPv6")
async def test_a_port_that_is_in_use_is_reported_with_its_address() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        listen = ListenSettings(host="::1", port=port, max_body_bytes=1000, body_timeout_s=1.0)
        app = create_service(title="t", description="d", version="1", lifespan=_nothing, listen=listen)
        with pytest.raises(ListenError, match="another port is chosen by") as caught:
            await serve([ServedApp(app, listen)])
    assert caught.value.item == f"[::1]:{port}"


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """A process with a soft limit of 1024 open files and a hard one of 4096; returns the limit that it sets."""
    requested: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: requested.append(limits))
    before = signal.getsignal(signal.SIGTERM)
    prepare_process()
    yield requested
    signal.signal(signal.SIGTERM, before)


def test_a_service_may_have_as_many_connections_as_the_system_allows(prepared: list[tuple[int, int]]) -> None:
    assert prepared == [(4096, 4096)]


@pytest.mark.usefixtures("prepared")
def test_sigterm_ends_a_service_that_still_starts() -> None:
    @asynccontextmanager
    async def endless(_: FastAPI) -> AsyncIterator[None]:
        threading.Timer(0.05, signal.raise_signal, [signal.SIGTERM]).start()
        await asyncio.sleep(60)
        yield

    listen = ListenSettings(port=0, max_body_bytes=1000, body_timeout_s=1.0)
    app = create_service(title="t", description="d", version="1", lifespan=endless, listen=listen)
    with pytest.raises(SystemExit) as ended:
        run_on_event_loop(serve([ServedApp(app, listen)]))
    assert ended.value.code == 128 + signal.SIGTERM


_SESSION = f"""
from aff_shared.web.serving import prepare_process
prepare_process()
import onnxruntime
onnxruntime.InferenceSession({str(TINY_BUNDLE / "query_encoder.onnx")!r}, providers=["CPUExecutionProvider"])
"""


def test_onnx_runtime_collects_nothing_in_a_service() -> None:
    """It would start with an id of the device, and warn where it cannot write one."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none"}
    command = [sys.executable, "-c", _SESSION]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "telemetry" not in ended.stderr.lower()
