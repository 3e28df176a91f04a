"""Copies the files of a shard, or of a gallery, while searches go on."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

_CHUNK_BYTES = 2**24  # after each, the copying thread waits for the interpreter, which a search may hold
# The engine makes the write-ahead log's next file in the background, under a name that does not stay.
_PREALLOCATED = "tmp-"


class _CopyGivenUpError(Exception):
    """Whoever waited for the copy does so no more."""


async def copy_files(source: Path, target: Path) -> None:
    """Copy a directory that nobody writes to meanwhile, in a thread of its own; the files are durable then.

    Args:
        source: The directory; of a shard, after a flush.
        target: Directory that does not exist. Cancelling leaves a part of it, and returns when nothing is copied
            any more.

    Raises:
        OSError: It cannot be read or written.
    """
    given_up = threading.Event()
    copying = asyncio.ensure_future(asyncio.to_thread(_copy, source, target, given_up))
    try:
        await asyncio.shield(copying)
    except asyncio.CancelledError:
        given_up.set()
        await asyncio.wait([copying])
        copying.exception()
        raise


def _copy(source: Path, target: Path, given_up: threading.Event) -> None:
    for directory, _, names in os.walk(source, onerror=_raise):
        place = target / Path(directory).relative_to(source)
        place.mkdir(parents=True)
        for name in names:
            if not name.startswith(_PREALLOCATED):
                _copy_file(Path(directory) / name, place / name, given_up)


def _raise(error: OSError) -> None:
    raise error


def _copy_file(source: Path, target: Path, given_up: threading.Event) -> None:
    with source.open("rb") as read, target.open("wb") as written:
        while chunk := read.read(_CHUNK_BYTES):
            if given_up.is_set():
                raise _CopyGivenUpError
            written.write(chunk)
        written.flush()
        os.fsync(written.fileno())
