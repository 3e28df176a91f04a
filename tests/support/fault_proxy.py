"""A TCP proxy that breaks the connection between a service and its store in the ways in which networks break.

What it does can be changed while connections are open: those that are there are treated like new ones.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

_CHUNK_BYTES = 65_536
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with 0 seconds: closing sends RST


@dataclass(frozen=True, slots=True)
class Pass:
    """Hand everything on."""


@dataclass(frozen=True, slots=True)
class Slow:
    """Hold back every part of an answer for so many seconds."""

    latency_s: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """Listen no more; open connections are reset."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset each connection once so many bytes of answers went through it."""

    after_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Hang:
    """Accept connections, and forward nothing until the mode changes."""


Mode = Pass | Slow | Refuse | Reset | Hang


class FaultProxy:
    """Listens on a port of this machine that stays the same.

    Attributes:
        port: Where it listens, unless it rejects connections.
        connections: How many it accepted so far.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._mode: Mode = Pass()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def become(self, mode: Mode) -> None:
        """Change the mode."""
        self._mode = mode
        self._changed.set()
        self._changed = asyncio.Event()
        if isinstance(mode, Refuse):
            self._stop_listening()
            for writer in list(self._open):
                _reset(writer)
        elif self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Reset what is open."""
        await self.become(Refuse())
        await asyncio.gather(*self._handlers)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        self._handlers.add(task)
        self._open.add(client)
        try:
            with suppress(OSError):
                server_reader, server = await asyncio.open_connection("127.0.0.1", self._target_port)
                self._open.add(server)
                try:
                    await self._hand_on_both_ways(client_reader, client, server_reader, server)
                finally:
                    self._open.discard(server)
                    server.close()
        finally:
            self._handlers.discard(task)
            self._open.discard(client)
            if isinstance(self._mode, Reset):
                _reset(client)
            client.close()

    async def _hand_on_both_ways(
        self,
        client_reader: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
    ) -> None:
        """Return when either side has ended."""
        ways = [
            asyncio.create_task(self._hand_on(client_reader, server, answers=False)),
            asyncio.create_task(self._hand_on(server_reader, client, answers=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        handed_on = 0
        while data := await reader.read(_CHUNK_BYTES):
            while isinstance(self._mode, Hang):
                await self._changed.wait()
            if answers and isinstance(self._mode, Slow):
                await asyncio.sleep(self._mode.latency_s)
            if answers and isinstance(self._mode, Reset):
                data = data[: max(0, self._mode.after_bytes - handed_on)]
            if data:
                writer.write(data)
                await writer.drain()
            handed_on += len(data)
            if answers and isinstance(self._mode, Reset) and handed_on >= self._mode.after_bytes:
                return


@asynccontextmanager
async def fault_proxy(target_port: int) -> AsyncIterator[FaultProxy]:
    """Run a proxy to a port of this machine; it forwards everything until its mode is changed."""
    proxy = FaultProxy(target_port)
    await proxy.become(Pass())
    try:
        yield proxy
    finally:
        await proxy.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with suppress(OSError):  # closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    writer.transport.abort()
