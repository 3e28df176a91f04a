"""A copy of a shard that gets its HNSW graph in another process, and what is written to the shard meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import qdrant_edge as edge

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
