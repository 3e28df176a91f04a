"""One life of a worker process: its channels, and what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import Sequence
from functools import partial
from typing import cast

from aff_shared.errors import WorkerError
from aff_shared.workers.frames import Frame, FrameReading, Message, encode_frame, reading_frame
from aff_shared.workers.serve import Opened

_START_S = 600.0  # weights come from a disk that may be slow
_END_S = 10.0


class ProcessDiedError(WorkerError):
    """The process ended without an answer."""


class WorkerStartError(WorkerError):
    """The process cannot be started, or was closed; the request is not the cause."""


class WorkerLife:
    """One life of the process, with a channel for each of its threads.

    Args:
        process: The started process.
        does: Description of its work, for errors.
        max_answer_bytes: Maximum size of an answer.
    """

    def __init__(self, process: subprocess.Popen[bytes], does: str, max_answer_bytes: int) -> None:
        self.does = does
        self.max_answer_bytes = max_answer_bytes
        self._process = process
        # None represents a channel that was cut off: each reader puts it back for the next one.
        self._idle: asyncio.LifoQueue[_Channel | None] = asyncio.LifoQueue()
        self._cut_off = False
        self._channels: list[_Channel] = []
        self._loop = asyncio.get_running_loop()

    async def open(self, ends: Sequence[socket.socket], setup: Message) -> None:
        """Connect the channels, and have the process load what it needs.

        Raises:
            WorkerError: It died, or was not ready in time.
            AffError: An error that the opener raised.
        """
        for end in ends:
            _, channel = await self._loop.create_unix_connection(partial(_Channel, self), sock=end)
            self._channels.append(channel)
        first, *others = self._channels
        try:
            (await first.ask(encode_frame(setup), _START_S)).read(Opened)
        except BaseException:
            self.kill()
            raise
        for channel in others:
            self.give_back(channel)

    async def take_channel(self) -> _Channel | None:
        """Wait for an idle channel; None if the process has died in the meantime."""
        channel = await self._idle.get()
        if channel is None:
            self._idle.put_nowait(None)
        return channel

    def give_back(self, channel: _Channel) -> None:
        """Return a channel to the idle ones."""
        if not self._cut_off:
            self._idle.put_nowait(channel)

    def cut_off(self) -> None:
        """Mark the process as dead."""
        self._cut_off = True
        self._idle.put_nowait(None)

    def kill(self) -> None:
        """Kill the process; calls in it raise ProcessDiedError."""
        self.cut_off()
        self._process.kill()

    def disconnect(self) -> None:
        """Close the channels; any thread may call it."""
        if not self._loop.is_closed():
            for channel in self._channels:
                self._loop.call_soon_threadsafe(channel.disconnect)

    def is_alive(self) -> bool:
        """Return whether the process can be called."""
        return not self._cut_off and self._process.poll() is None


class _Channel(asyncio.Protocol):
    """One request at a time; idle again once it is answered, even if no caller waits any longer."""

    def __init__(self, life: WorkerLife) -> None:
        self._life = life
        self._received = bytearray()
        self._reading: FrameReading | None = None
        self._wanted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def ask(self, request: Sequence[bytes | memoryview], timeout_s: float) -> asyncio.Future[Frame]:
        loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Frame] = loop.create_future()
        self._received.clear()
        self._reading = reading_frame(self._life.max_answer_bytes)
        self._wanted = next(self._reading)
        self._deadline = loop.call_later(timeout_s, self._expire, timeout_s)
        for piece in request:
            self._transport.write(piece)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            if self._reading is None:
                raise WorkerError("an answer without a request")
            while len(self._received) >= self._wanted:
                piece = bytes(memoryview(self._received)[: self._wanted])
                del self._received[: self._wanted]
                self._wanted = self._reading.send(piece)
        except StopIteration as whole:
            self._finish()
            if not self._answer.done():
                self._answer.set_result(whole.value)
            self._life.give_back(self)
        except WorkerError as error:
            self._fail(error)
            self._life.kill()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the Protocol's
        self._life.cut_off()
        self._fail(ProcessDiedError(f"the process that {self._life.does} died"))

    def disconnect(self) -> None:
        self._transport.abort()

    def _expire(self, timeout_s: float) -> None:
        self._fail(WorkerError(f"the process that {self._life.does} did not answer within {timeout_s:g} s"))
        self._life.kill()

    def _fail(self, error: WorkerError) -> None:
        if self._reading is not None:
            self._finish()
            if not self._answer.done():
                self._answer.set_exception(error)

    def _finish(self) -> None:
        self._reading = None
        self._deadline.cancel()


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, and wait until its resources are released."""
    process.kill()
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
