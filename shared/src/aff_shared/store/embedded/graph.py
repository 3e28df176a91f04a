"""The HNSW graph of an embedded gallery: when it is built, on which copy, and by which process."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import qdrant_edge as edge

from aff_shared.errors import StoreError

QUIET_S = 2.0
"""How long writes rest before a graph is built: a bulk upload gets one at its end, not ten on its way."""
LONGEST_S = 3600.0
"""How long writes that never rest put a graph off."""
_GROWTH = 0.2
_DEAD = 0.5
_LEAST_DEAD = 1000  # the engine clears away nothing in a smaller segment
_BYTES_PER_NUMBER = 4


def indexing_pays(*, points: int, indexed: int, dead: int, dimension: int, threshold_kb: int) -> bool:
    """Say whether the vectors outside the graph, or those of deleted and replaced points, are worth a new one.

    Comparing with every vector is exact, and fast while the vectors outside the graph take less than
    `threshold_kb` kilobytes. Building costs a copy of the gallery, so they must also be a fifth of it: then
    the work stays proportional to the gallery's final size however it grows. Dead vectors stay in the files until
    then, so that a gallery whose images come and go would grow for ever; they may be half as many as the living.
    """
    if dead >= max(_LEAST_DEAD, _DEAD * points):
        return True
    unindexed = points - indexed
    return unindexed * dimension * _BYTES_PER_NUMBER > threshold_kb * 1024 and unindexed >= _GROWTH * points


async def index_in_child(shard_path: Path) -> None:
    """Build the graph of a shard that no one else has open, in a child process; cancelling kills the child.

    Raises:
        StoreError: The child failed; the shard is of no use then.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "aff_shared.store.embedded.graph",
        str(shard_path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, complaint = await child.communicate()
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise
    if child.returncode != 0:
        raise StoreError(f"indexing ended with status {child.returncode}: {complaint.decode()[-500:]}")


_AT_ONCE = 1000  # points that are brought over while searches wait


class EdgeGraphCopy:
    """What takes the place of a shard. Not for several threads at once; raises what the engine raises.

    Args:
        source: Directory of the shard, to be copied before the next write.
        path: Where to.
    """

    def __init__(self, source: Path, path: Path) -> None:
        self.source = source
        self.path = path
        self._changed: set[edge.PointId] = set()
        self._shard: edge.EdgeShard | None = None

    def note(self, ids: Iterable[edge.PointId]) -> None:
        """Keep in mind that points of the shard change."""
        self._changed.update(ids)

    def open(self, shard: edge.EdgeShard) -> None:
        """Take the copy, which has its graph now."""
        self._shard = shard

    def bring_over(self, source: edge.EdgeShard) -> bool:
        """Bring some of the changes over; returns whether there are many more."""
        self._bring_some(source)
        return len(self._changed) > _AT_ONCE

    def completed(self, source: edge.EdgeShard) -> edge.EdgeShard:
        """Bring over what is left, and return the copy."""
        while self._changed:
            self._bring_some(source)
        return self._opened

    def close(self) -> None:
        """Close the copy: it is not wanted any more."""
        if self._shard is not None:
            self._shard.close()

    @property
    def _opened(self) -> edge.EdgeShard:
        assert self._shard is not None, "a copy is opened before it is worked on"
        return self._shard

    def _bring_some(self, source: edge.EdgeShard) -> None:
        changed = [self._changed.pop() for _ in range(min(_AT_ONCE, len(self._changed)))]
        present = source.retrieve(changed, True, True)
        self._opened.update(edge.UpdateOperation.delete_points(changed))
        points = [edge.Point(record.id, record.vector or {}, record.payload) for record in present]
        self._opened.update(edge.UpdateOperation.upsert_points(points))


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


def main() -> None:
    """Build it, and clear away the vectors of deleted points."""
    os.nice(10)  # the services go first
    shard = edge.EdgeShard.load(sys.argv[1])
    shard.optimize()
    shard.close()


if __name__ == "__main__":
    main()
