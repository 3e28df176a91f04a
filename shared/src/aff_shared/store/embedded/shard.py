"""The shard of an embedded gallery: blocking calls of Qdrant Edge.

Properties of the engine (0.9) that determine this design:

- What `update` wrote survives the death of the process (a memory-mapped log) but not that of the machine;
  `flush` makes it survive both, for some 5 ms. So every write ends with a flush.
- Every call holds Python's interpreter lock from its beginning to its end. `optimize`, which builds the HNSW graph,
  takes 30 s for 50,000 vectors, so `graph` does that in another process, on a copy.
- Only `update` and `flush` change the shard's files. So they can be copied during searches, while writes wait.
- It stores no metadata of a collection, and does not detect incomplete shards. See `directory`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Unpack

import qdrant_edge as edge

from aff_shared.errors import GalleryMissingError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import JsonObject
from aff_shared.schemas.payload_filter import PayloadFilter, Scalar
from aff_shared.store.embedded.conversion import (
    WITHOUT_THUMBNAIL,
    facet_request,
    from_engine,
    index_creations,
    page_request,
    scroll_request,
    search_request,
    shard_config,
    to_engine,
    to_filter,
    to_hit,
)
from aff_shared.store.embedded.directory import EdgeDirectory
from aff_shared.store.embedded.graph import EdgeGraphCopy, indexing_pays
from aff_shared.store.gallery_store import (
    Embedding,
    GalleryHit,
    GalleryPage,
    GalleryPoint,
    GalleryRecord,
    NearestQuery,
)
from aff_shared.store.layout import (
    PAYLOAD_KEY,
    THUMBNAIL_KEY,
    by_item,
    from_payload,
    point_id,
    points_of,
    replaced_points,
    thumbnail_of,
)
from aff_shared.store.record_paging import RecordScroll
from aff_shared.store.settings import StoreSettings

_DELETED_AT_ONCE = 1000  # by a filter, while searches wait


class EdgeGallery:
    """The shard of a gallery directory. Not thread-safe; raises the engine's exceptions."""

    def __init__(self, path: Path, settings: StoreSettings) -> None:
        """Open the gallery in a directory; also raises the errors of `EdgeDirectory`."""
        self._settings = settings
        self._directory = EdgeDirectory(path)
        self._opened: edge.EdgeShard | None = None
        self._copy: EdgeGraphCopy | None = None
        self._dead = 0
        try:
            if self._directory.manifest is not None:
                self._directory.require_room(to_write=False)
                self._opened = self._load(self._directory.shard_path)
        except BaseException:
            self._directory.close()
            raise

    @property
    def space(self) -> EmbeddingSpace:
        """Space of the gallery.

        Raises:
            GalleryMissingError: No gallery has been created.
        """
        if self._directory.manifest is None:
            raise GalleryMissingError("no gallery has been created in this directory")
        return self._directory.manifest.embedding_space

    def create(self, space: EmbeddingSpace) -> None:
        """Create the gallery; does nothing if one of the same space exists."""
        if self._directory.manifest is not None:
            space.require_same(self.space, here="the model bundle", there="the gallery")
            return
        self._directory.require_room(to_write=True)
        path = self._directory.new_shard_path()
        path.mkdir()
        shard = edge.EdgeShard.create(str(path), shard_config(space, self._settings))
        shard.flush()
        self._directory.adopt(space, path)
        self._opened = shard

    def index_payload(self) -> bool:
        """Create the next payload index that is missing; returns whether there was one."""
        for operation in index_creations(self._shard, self._settings):
            self._write(operation, [])
            return True
        return False

    def upsert(self, points: Sequence[GalleryPoint]) -> None:
        """Write points durably."""
        item_ids = [point.record.item_id for point in points]
        ids: list[edge.PointId] = [point_id(item_id) for item_id in item_ids]
        self._write(edge.UpdateOperation.upsert_points(list(map(to_engine, points))), ids, written=len(points))
        if replaced := replaced_points(item_ids):
            self._delete([*replaced])

    def fetch(self, item_ids: Sequence[str]) -> dict[str, GalleryPoint]:
        """Return the points of those ids that exist, by item id."""
        requested = points_of(item_ids)
        records = self._shard.retrieve([*requested], WITHOUT_THUMBNAIL, True)
        return by_item({str(record.id): from_engine(record) for record in records}, requested)

    def set_payload(self, item_id: str, payload: JsonObject) -> None:
        """Replace the caller's payload of a point durably."""
        ids: list[edge.PointId] = [*points_of([item_id])]
        there = edge.Filter(must=[edge.HasIdCondition(set(ids))])  # passes over what does not exist
        self._write(edge.UpdateOperation.set_payload_by_filter(there, {PAYLOAD_KEY: payload}), ids)

    def thumbnails(self, item_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the thumbnails of those ids that have one."""
        requested = points_of(item_ids)
        records = self._shard.retrieve([*requested], edge.PayloadSelector.Include([THUMBNAIL_KEY]), False)
        return by_item({str(record.id): thumbnail_of(record.payload or {}) for record in records}, requested)

    def delete(self, item_ids: Sequence[str]) -> None:
        """Delete the points of those ids durably."""
        self._delete([*points_of(item_ids)])

    def delete_matching(self, payload_filter: PayloadFilter, cursor: edge.PointId | None) -> edge.PointId | None:
        """Delete the next points that the filter matches, durably; returns the next cursor, None at the end."""
        request = edge.ScrollRequest(offset=cursor, limit=_DELETED_AT_ONCE, filter=to_filter(payload_filter))
        records, following = self._shard.scroll(request)
        if records:
            self._delete([record.id for record in records])
        return following

    def search(self, embedding: Embedding, **query: Unpack[NearestQuery]) -> list[GalleryHit]:
        """See GalleryStore."""
        found = self._shard.query(search_request(embedding, self._settings, query))
        return [to_hit(point, with_embedding=query.get("with_embeddings", False)) for point in found]

    def count(self, payload_filter: PayloadFilter | None) -> int:
        """Return the exact number of points (that the filter matches)."""
        if payload_filter is None:
            return self._shard.info().points_count  # a count compares every point
        return self._shard.count(edge.CountRequest(exact=True, filter=to_filter(payload_filter)))

    def scroll(self, *, limit: int, cursor: str | None, payload_filter: PayloadFilter | None) -> GalleryPage:
        """Return the next points in the order of their point ids."""
        records, following = self._shard.scroll(page_request(limit, cursor, payload_filter))
        return GalleryPage(list(map(from_engine, records)), None if following is None else str(following))

    def records(self, scroll: RecordScroll, payload_filter: PayloadFilter | None) -> list[GalleryRecord]:
        """Return the records of one scroll."""
        records, _ = self._shard.scroll(scroll_request(scroll, payload_filter))
        return [from_payload(record.payload or {}) for record in records]

    def facet(self, payload_key: str, limit: int, payload_filter: PayloadFilter | None) -> list[tuple[Scalar, int]]:
        """See GalleryStore."""
        request = facet_request(payload_key, limit, payload_filter)
        return [(hit.value, hit.count) for hit in self._shard.facet(request).hits]

    def begin_copy(self) -> EdgeGraphCopy | None:
        """Return the copy to make before the next write, for a new graph; None if no graph pays."""
        if self._opened is None or not self._indexing_pays():
            return None
        self._opened.flush()
        self._copy = EdgeGraphCopy(self._directory.shard_path, self._directory.new_shard_path())
        return self._copy

    def abandon_copy(self) -> None:
        """Forget the copy; `sweep` removes its files."""
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.close()

    def open_copy(self, copy: EdgeGraphCopy) -> None:
        """Open the copy, which has its graph now."""
        copy.open(self._load(copy.path))

    def apply_changes(self, copy: EdgeGraphCopy) -> bool:
        """Apply some of the changes since the copy to it; returns whether many more are left."""
        return copy.apply_changes(self._shard)

    def adopt_copy(self, copy: EdgeGraphCopy) -> None:
        """Apply the remaining changes, and replace the shard with the copy; `sweep` removes the old shard."""
        fresh = copy.completed(self._shard)
        for operation in index_creations(fresh, self._settings):
            fresh.update(operation)
        fresh.flush()
        self._directory.adopt(self.space, copy.path)
        self._shard.close()
        self._opened, self._copy, self._dead = fresh, None, 0

    def sweep(self) -> None:
        """Remove the shards that do not count; the only method that any thread may call."""
        self._directory.sweep()

    def close(self) -> None:
        """Close the shard, remove a copy that was not adopted, and release the directory."""
        self.abandon_copy()
        if self._opened is not None:
            self._opened.close()
        self._directory.sweep()
        self._directory.close()

    @property
    def _shard(self) -> edge.EdgeShard:
        if self._opened is None:
            raise GalleryMissingError("no gallery has been created in this directory")
        return self._opened

    def _indexing_pays(self) -> bool:
        info = self._shard.info()
        return indexing_pays(
            points=info.points_count,
            indexed=info.indexed_vectors_count,
            dead=self._dead,
            dimension=self.space.dimension,
            threshold_kb=self._settings.indexing_threshold_kb,
        )

    def _load(self, path: Path) -> edge.EdgeShard:
        return edge.EdgeShard.load(str(path), shard_config(self.space, self._settings))

    def _delete(self, ids: list[edge.PointId]) -> None:
        self._write(edge.UpdateOperation.delete_points(ids), ids)

    def _write(self, operation: edge.UpdateOperation, ids: Iterable[edge.PointId], *, written: int = 0) -> None:
        if self._copy is not None:
            self._copy.note(ids)
        self._directory.require_room(to_write=True)
        before = self._shard.info().points_count
        self._shard.update(operation)
        self._shard.flush()
        self._dead += before + written - self._shard.info().points_count
