"""The other side of a WorkerProcess.

`python -m aff_shared.workers.serve MODULE:FUNCTION 5 6` calls the function with the first frame received on the
socket 5. The returned handler answers frames on both sockets, in a thread for each. The process ends when standard
input is closed, and so whenever the service ends: the kernel kills it, even while it runs native code.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from operator import attrgetter
from typing import Any

from aff_shared.errors import AffError, EncoderError
from aff_shared.resource_limits import bound_heap
from aff_shared.web.logs import configure_logging
from aff_shared.web.settings import ObserveSettings
from aff_shared.workers.frames import Failure, Frame, Message, Part, encode_frame, receive_frame

Handler = Callable[[Frame], tuple[Message, Sequence[Part]]]
"""Answers a frame; several threads may call it at a time."""

_MAX_REQUEST_BYTES = 2**32
_JOINED_BYTES = 2**16

_logger = logging.getLogger(__name__)


class Opened(Message):
    """Response to the first frame: loading is complete."""


def main() -> None:
    """Serve until the service ends."""
    _end_with_service()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's business
    bound_heap()
    configure_logging(ObserveSettings())
    channels = [socket.socket(fileno=int(descriptor)) for descriptor in sys.argv[2:]]
    handlers: list[Handler] = []

    def open_handler(frame: Frame) -> tuple[Message, Sequence[Part]]:
        handlers.append(object_named(sys.argv[1])(frame))
        return Opened(), ()

    _serve(channels[0], open_handler, frames=1)
    for channel in channels if handlers else ():
        threading.Thread(target=_serve, args=(channel, handlers[0])).start()


def object_named(name: str) -> Any:
    """Return what `module:function` or `module:Class.method` names."""
    module, _, path = name.partition(":")
    return attrgetter(path)(import_module(module))


def name_of(function: Callable[..., Any]) -> str:
    """Return the name by which another process finds a function of a module or a class."""
    return f"{function.__module__}:{function.__qualname__}"


def _end_with_service() -> None:
    """Configure the kernel to kill this process when the other end of standard input is closed."""
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    try:
        os.read(0, 1)
    except BlockingIOError:
        return  # it is open
    os._exit(0)


def _serve(channel: socket.socket, handler: Handler, frames: int = sys.maxsize) -> None:
    with channel.makefile("rb") as file:
        for _ in range(frames):
            frame = receive_frame(file, _MAX_REQUEST_BYTES)
            if frame is None:
                os._exit(0)
            pieces = encode_frame(*_answer(handler, frame))
            is_small = sum(map(len, pieces)) <= _JOINED_BYTES  # the service wakes up once for it
            for piece in [b"".join(pieces)] if is_small else pieces:
                channel.sendall(piece)


def _answer(handler: Handler, frame: Frame) -> tuple[Message, Sequence[Part]]:
    try:
        return handler(frame)
    except AffError as error:
        return Failure(code=error.code, detail=error.detail, item=error.item), ()
    except Exception as error:
        _logger.exception("a call failed")
        return Failure(code=EncoderError.code, detail=f"{type(error).__name__}: {error}", item=None), ()


if __name__ == "__main__":
    main()
