"""Photographs are decoded and encoded in a process of their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import cast

from aff_contracts.errors import EncoderError, ImageError
from aff_contracts.image_decoding import ImageLimits
from aff_contracts.web.tracing import span
from query_api.embedding_messages import message_of, read_answer, request_of
from query_api.photograph_embedder import EmbeddedPhotographs, EncoderGraph, Photograph

_ATTEMPTS_ALONE = 2

_logger = logging.getLogger(__name__)


class EmbeddingProcess:
    """A PhotographEmbedder that asks `query_api.embedding_worker`; to be made while the event loop runs.

    Python runs in one thread of a process at a time, and the embedded store keeps it for as long as a search takes:
    photographs that are encoded in the same process wait for HTTP and store, which wait for them. And a photograph that
    kills its decoder does not kill the service: the process is started anew, and those that were in it are tried
    again, one after the other.

    Args:
        limits: What a photograph may be.
        threads: Requests whose photographs are decoded and encoded at the same time.
        onnx_threads: That ONNX Runtime uses for one of them.
    """

    def __init__(self, limits: ImageLimits, threads: int, onnx_threads: int) -> None:
        self._start = partial(_Worker.start, limits, threads, onnx_threads)
        self._worker = asyncio.create_task(self._start())
        self._alone = asyncio.Lock()

    async def load(self, graph: EncoderGraph) -> None:
        """Load an encoder, so that no search waits for that.

        Raises:
            BundleError: It cannot be used.
            EncoderError: The process died of it.
        """
        await self.embed([], graph)

    async def embed(self, photographs: Sequence[Photograph], graph: EncoderGraph) -> EmbeddedPhotographs:
        """See PhotographEmbedder."""
        request = request_of(photographs, graph)
        with span("embed"):
            try:
                return await self._ask(request)
            except _ProcessDiedError:
                return await self._ask_alone(request, photographs, graph)

    async def close(self) -> None:
        """End the process; what it works on is given up."""
        with contextlib.suppress(OSError):  # it could not be started
            await (await self._worker).end()

    async def _ask(self, request: bytes) -> EmbeddedPhotographs:
        asked = self._worker
        try:
            return read_answer(*await (await asked).ask(request))
        except (_ProcessDiedError, OSError) as error:
            if asked is self._worker:
                _logger.warning("the process that embeds photographs died; another takes its place")
                self._worker = asyncio.create_task(self._start())
                with contextlib.suppress(OSError):
                    await (await asked).end()
            raise _ProcessDiedError from error

    async def _ask_alone(
        self, request: bytes, photographs: Sequence[Photograph], graph: EncoderGraph
    ) -> EmbeddedPhotographs:
        """Ask again, beside no other that may have been the reason.

        Raises:
            ImageError: The process dies of the photographs: without them it loads the encoder and lives.
            EncoderError: It dies without them, or cannot be started.
        """
        async with self._alone:
            for _ in range(_ATTEMPTS_ALONE):
                with contextlib.suppress(_ProcessDiedError):
                    return await self._ask(request)
            try:
                nothing = await self._ask(request_of([], graph))
            except _ProcessDiedError as error:
                raise EncoderError("the process that embeds photographs dies, or cannot be started") from error
        if not photographs:
            return nothing
        raise ImageError("the decoder crashes on it", item=", ".join(one.name for one in photographs))


class _ProcessDiedError(Exception):
    """It ended without an answer."""


class _Worker:
    """One life of the process, with a channel for each of its threads."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        # None stands for a channel that was cut off: whoever gets it leaves it to the next one.
        self._idle: asyncio.LifoQueue[_Channel | None] = asyncio.LifoQueue()

    @classmethod
    async def start(cls, limits: ImageLimits, threads: int, onnx_threads: int) -> _Worker:
        pairs = [socket.socketpair() for _ in range(threads)]
        descriptors = [theirs.fileno() for _, theirs in pairs]
        settings = [limits.model_dump_json(), str(onnx_threads)]
        command = [sys.executable, "-m", "query_api.embedding_worker", *settings, *map(str, descriptors)]
        nothing = asyncio.subprocess.DEVNULL
        with contextlib.ExitStack() as unused:
            for end in chain(*pairs):
                unused.enter_context(end)
            worker = cls(await asyncio.create_subprocess_exec(*command, stdin=nothing, pass_fds=descriptors))
            unused.pop_all()
        for ours, theirs in pairs:
            theirs.close()
            await asyncio.get_running_loop().create_unix_connection(partial(_Channel, worker._idle), sock=ours)
        return worker

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Send a request, and return the head and the body of its answer.

        Raises:
            _ProcessDiedError: There is none.
        """
        channel = await self._idle.get()
        if channel is None:
            self._idle.put_nowait(None)
            raise _ProcessDiedError
        return await channel.ask(request)

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class _Channel(asyncio.Protocol):
    """One request at a time; idle again when its answer has come, whether anybody still waits for it or not."""

    def __init__(self, idle: asyncio.LifoQueue[_Channel | None]) -> None:
        self._idle = idle
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[bytes, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._idle.put_nowait(self)

    def ask(self, request: bytes) -> asyncio.Future[tuple[bytes, bytes]]:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        answer = message_of(self._received)
        if answer is not None and self._answer is not None:
            self._received.clear()
            if not self._answer.done():
                self._answer.set_result(answer)
            self._idle.put_nowait(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the Protocol's
        self._idle.put_nowait(None)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(_ProcessDiedError())
