"""Functions that the processes of `test_worker_process.py` run."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable

from aff_shared.errors import TruncatedImageError
from aff_shared.workers.frames import Frame, Message, Part
from aff_shared.workers.serve import Handler


class Task(Message):
    does: str = "echo"
    seconds: float = 0.0


class Done(Message):
    pid: int


class Other(Message):
    text: str = "no answer to that"


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang_in_native_code() -> None:
    ctypes.PyDLL(None).sleep(600)  # with the interpreter's lock


def _raise_ours() -> None:
    raise TruncatedImageError("ends too early", item="half.jpg")


def _raise_foreign() -> None:
    raise ZeroDivisionError("by zero")


def _send_pickle() -> None:
    os.write(int(sys.argv[2]), pickle.dumps({"pid": 1}) * 100)
    time.sleep(600)


_WAYS: dict[str, Callable[[], None]] = {
    "die": _die,
    "hang": _hang_in_native_code,
    "raise ours": _raise_ours,
    "raise foreign": _raise_foreign,
    "pickle": _send_pickle,
    "echo": lambda: None,
}


def open_tasks(frame: Frame) -> Handler:
    """Answer with the parts of the request, after a delay or in the way that the request names."""
    frame.read(Task)

    def handle(frame: Frame) -> tuple[Message, tuple[Part, ...]]:
        task = frame.read(Task)
        time.sleep(task.seconds)
        if task.does == "other":
            return Other(), ()
        if task.does == "large":
            return Done(pid=os.getpid()), (bytes(2**20),)
        _WAYS[task.does]()
        return Done(pid=os.getpid()), frame.parts

    return handle


def open_nothing(frame: Frame) -> Handler:
    raise TruncatedImageError("cannot be opened")


def open_never(_: Frame) -> Handler:
    """Fail as a library does that is not there."""
    raise ImportError("no such library")
