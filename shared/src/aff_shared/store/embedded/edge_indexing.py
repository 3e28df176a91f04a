"""When the embedded gallery builds its HNSW graph, and the process that does it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

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
        "aff_shared.store.embedded.edge_optimize",
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
