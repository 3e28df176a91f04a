"""A worker process of a service: called by frames, with a deadline for each call."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence

from aff_shared.errors import EncoderError, WorkerError
from aff_shared.workers.frames import AnyMessage, Frame, Message, Part, encode_frame
from aff_shared.workers.worker_life import ProcessDiedError, WorkerLife, WorkerStartError, end_process

_MAX_ANSWER_BYTES = 64 * 2**20

_logger = logging.getLogger(__name__)


class WorkerProcess:
    """Calls a function in a worker process, which is started with the first call.

    Requests may be hostile. A process that dies, or does not send a valid answer in time, is killed,
    and the next call starts another one. A call whose process died is repeated in a process without other calls: then
    another death shows which call was the cause.

    An instance belongs to the event loop of its first call.

    Args:
        does: Description of its work, for logs and errors: "embeds photographs".
        opener: `module:function`, which is called in the process with the setup, and returns a Handler.
        setup: Message that is passed to the opener.
        timeout_s: Maximum time for each item of a call, in seconds.
        threads: Maximum number of concurrent calls.
        files: File descriptors that the process inherits under the same numbers: shared memory.
        max_answer_bytes: Maximum size of an answer.
    """

    def __init__(
        self,
        does: str,
        opener: str,
        setup: Message,
        *,
        timeout_s: float,
        threads: int = 1,
        files: Sequence[int] = (),
        max_answer_bytes: int = _MAX_ANSWER_BYTES,
    ) -> None:
        self._does = does
        self._opener = opener
        self._setup = setup
        self._timeout_s = timeout_s
        self._threads = threads
        self._files = tuple(files)
        self._max_answer_bytes = max_answer_bytes
        self._life: asyncio.Task[WorkerLife] | None = None
        self._latest: WorkerLife | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._suspects = 0
        self._one_suspect = asyncio.Lock()
        self._for_suspects: WorkerProcess | None = None

    async def start(self) -> None:
        """Start the process now, rather than with the first call.

        Raises:
            WorkerStartError: It cannot be started, or dies as it starts.
            AffError: Another error that the opener raised.
        """
        await self._living()

    async def call(
        self, request: Message, parts: Sequence[Part], answer: type[AnyMessage], *, items: int = 1
    ) -> tuple[AnyMessage, Frame]:
        """Return the answer to a request; it is repeated once if the process dies or does not start.

        Args:
            request: Message of the request.
            parts: Bytes or arrays that go with it.
            answer: Model of the answer's message.
            items: Images of the request; each adds `timeout_s` to the time that the call may take.

        Returns:
            The message, and the frame with its parts.

        Raises:
            WorkerStartError: The process cannot be started.
            WorkerError: The process died twice, the second time with no other call in it; or it did not send a valid
                answer in time.
            AffError: An error that the function raised.
        """
        with contextlib.suppress(ProcessDiedError, WorkerStartError):
            return await self.ask(request, parts, answer, items=items)
        async with self._alone() as process:
            return await process.ask(request, parts, answer, items=items)

    async def ask(
        self, request: Message, parts: Sequence[Part], answer: type[AnyMessage], *, items: int = 1
    ) -> tuple[AnyMessage, Frame]:
        """Make a single attempt; see `call`."""
        encoded = encode_frame(request, parts)
        channel = None
        while channel is None:
            life = await self._living()
            channel = await life.take_channel()
        frame = await channel.ask(encoded, self._timeout_s * max(1, items))
        try:
            return frame.read(answer), frame
        except WorkerError:
            life.kill()
            raise

    def close(self) -> None:
        """End the process, and abandon its calls. Any thread may call it."""
        self._closed = True
        if self._process is not None:
            end_process(self._process)
        if self._latest is not None:
            self._latest.disconnect()
        if self._for_suspects is not None:
            self._for_suspects.close()

    async def _living(self) -> WorkerLife:
        """Return the running process, or a new one if it is dead."""
        if self._life is not None and self._life.done():
            if self._life.cancelled() or self._life.exception() is not None:
                self._life = None  # it could not be started
            elif not self._life.result().is_alive():
                _logger.warning("the process that %s died; another one replaces it", self._does)
                self._life = None
        if self._life is None:
            self._life = asyncio.create_task(self._start())
        return await asyncio.shield(self._life)

    async def _start(self) -> WorkerLife:
        try:
            return await self._open()
        except (EncoderError, OSError) as error:
            raise WorkerStartError(f"the process that {self._does} cannot be started: {error}") from error

    async def _open(self) -> WorkerLife:
        pairs = [socket.socketpair() for _ in range(self._threads)]
        try:
            process = await asyncio.to_thread(self._spawn, [theirs.fileno() for _, theirs in pairs])
        except BaseException:
            for ours, _ in pairs:
                ours.close()
            raise
        finally:
            for _, theirs in pairs:
                theirs.close()
        life = self._latest = WorkerLife(process, self._does, self._max_answer_bytes)
        await life.open([ours for ours, _ in pairs], self._setup)
        return life

    def _spawn(self, channels: Sequence[int]) -> subprocess.Popen[bytes]:
        if self._process is not None:
            end_process(self._process)  # its GPU memory has to be released first
        self._require_open()
        command = [sys.executable, "-m", "aff_shared.workers.serve", self._opener, *map(str, channels)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[*channels, *self._files])
        if self._closed:
            end_process(self._process)
        return self._process

    def _require_open(self) -> None:
        if self._closed:
            raise WorkerStartError(f"the process that {self._does} has been closed")

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[WorkerProcess]:
        """Provide a process without other calls: this one if it never has more than one."""
        if self._threads == 1:
            yield self
            return
        self._suspects += 1
        try:
            async with self._one_suspect:
                self._require_open()
                if self._for_suspects is None:
                    self._for_suspects = WorkerProcess(
                        self._does,
                        self._opener,
                        self._setup,
                        timeout_s=self._timeout_s,
                        files=self._files,
                        max_answer_bytes=self._max_answer_bytes,
                    )
                yield self._for_suspects
        finally:
            self._suspects -= 1
            if not self._suspects and self._for_suspects is not None:
                cleared, self._for_suspects = self._for_suspects, None
                await asyncio.to_thread(cleared.close)
