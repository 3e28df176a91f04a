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
"""Seconds without writes before a graph is built: a bulk upload needs one graph at its end, not ten."""
LONGEST_S = 3600.0
"""Maximum delay of a graph by continuous writes, in seconds."""
_GROWTH = 0.2
_DEAD = 0.5
_LEAST_DEAD = 1000  # the engine removes nothing from smaller segments
_BYTES_PER_NUMBER = 4


def indexing_pays(*, points: int, indexed: int, dead: int, dimension: int, threshold_kb: int) -> bool:
    """Return whether the vectors outside the graph, or those of deleted and replaced points, justify a new graph.

    Comparing with every vector is exact, and fast while the vectors outside the graph take less than
    `threshold_kb` kilobytes. Building costs a copy of the gallery, so they must also be a fifth of it: then
    the work stays proportional to the gallery's final size however it grows. Dead vectors stay in the files until
    then, so a gallery whose images are replaced continuously would keep growing. Half as many as the live ones are
    accepted.
    """
    if dead >= max(_LEAST_DEAD, _DEAD * points):
        return True
    unindexed = points - indexed
    return unindexed * dimension * _BYTES_PER_NUMBER > threshold_kb * 1024 and unindexed >= _GROWTH * points


async def index_in_child(shard_path: Path) -> None:
    """Build the graph of a shard that is not open elsewhere in a child process; cancelling kills the child.

    Raises:
        StoreError: The child failed; the shard is unusable.
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


_AT_ONCE = 1000  # points that are copied while searches wait


class EdgeGraphCopy:
    """Copy of a shard that replaces it. Not thread-safe; raises the engine's exceptions.

    Args:
        source: Directory of the shard, which has to be copied before the next write.
        path: Directory of the copy.
    """

    def __init__(self, source: Path, path: Path) -> None:
        self.source = source
        self.path = path
        self._changed: set[edge.PointId] = set()
        self._shard: edge.EdgeShard | None = None

    def note(self, ids: Iterable[edge.PointId]) -> None:
        """Record changed points of the shard."""
        self._changed.update(ids)

    def open(self, shard: edge.EdgeShard) -> None:
        """Set the opened copy, which now has its graph."""
        self._shard = shard

    def apply_changes(self, source: edge.EdgeShard) -> bool:
        """Copy some of the changes; returns whether many more are left."""
        self._apply_some(source)
        return len(self._changed) > _AT_ONCE

    def completed(self, source: edge.EdgeShard) -> edge.EdgeShard:
        """Copy the remaining changes, and return the copy."""
        while self._changed:
            self._apply_some(source)
        return self._opened

    def close(self) -> None:
        """Close the copy, which is no longer needed."""
        if self._shard is not None:
            self._shard.close()

    @property
    def _opened(self) -> edge.EdgeShard:
        assert self._shard is not None, "a copy is opened before it is used"
        return self._shard

    def _apply_some(self, source: edge.EdgeShard) -> None:
        changed = [self._changed.pop() for _ in range(min(_AT_ONCE, len(self._changed)))]
        present = source.retrieve(changed, True, True)
        self._opened.update(edge.UpdateOperation.delete_points(changed))
        points = [edge.Point(record.id, record.vector or {}, record.payload) for record in present]
        self._opened.update(edge.UpdateOperation.upsert_points(points))


_CHUNK_BYTES = 2**24  # after each, the copying thread waits for the interpreter lock, which a search may hold
# The engine creates the write-ahead log's next file in the background, under a temporary name.
_PREALLOCATED = "tmp-"


class _CopyGivenUpError(Exception):
    """The copy was cancelled."""


async def copy_files(source: Path, target: Path) -> None:
    """Copy a directory that does not change in the meantime, in a separate thread; the copies are durable.

    Args:
        source: The directory; of a shard, after a flush.
        target: Directory that does not exist. Cancelling leaves an incomplete copy, and returns when copying has
            stopped.

    Raises:
        OSError: It cannot be read or written.
    """
    cancelled = threading.Event()
    copying = asyncio.ensure_future(asyncio.to_thread(_copy, source, target, cancelled))
    try:
        await asyncio.shield(copying)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.wait([copying])
        copying.exception()
        raise


def _copy(source: Path, target: Path, cancelled: threading.Event) -> None:
    for directory, _, names in os.walk(source, onerror=_raise):
        place = target / Path(directory).relative_to(source)
        place.mkdir(parents=True)
        for name in names:
            if not name.startswith(_PREALLOCATED):
                _copy_file(Path(directory) / name, place / name, cancelled)


def _raise(error: OSError) -> None:
    raise error


def _copy_file(source: Path, target: Path, cancelled: threading.Event) -> None:
    with source.open("rb") as read, target.open("wb") as written:
        while chunk := read.read(_CHUNK_BYTES):
            if cancelled.is_set():
                raise _CopyGivenUpError
            written.write(chunk)
        written.flush()
        os.fsync(written.fileno())


def main() -> None:
    """Build the graph, and remove the vectors of deleted points."""
    os.nice(10)  # the services go first
    shard = edge.EdgeShard.load(sys.argv[1])
    shard.optimize()
    shard.close()


if __name__ == "__main__":
    main()
