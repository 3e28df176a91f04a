"""The gallery store on Qdrant Edge, Qdrant's engine inside this process.

The engine (0.9) holds Python's interpreter lock during every call, from beginning to end. So one thread makes
all calls: more would only wait for each other, and one alone keeps writes and swaps in order. While it is idle, a
search runs in the event loop's thread, which would have to wait for it anyway: that saves two changes of thread.

Building an HNSW graph takes 30 s for 50,000 vectors, and nothing in this process would run meanwhile. So a
child process builds it on a copy of the shard, while searches and writes continue. Then the changes made in the
meantime are applied to the copy, which replaces the shard. Until then the vectors outside the graph are
compared one by one, which is exact. See `graph.indexing_pays`. The files are copied in another thread: searches
continue, and writes wait until that is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, Unpack

from aff_shared.errors import GalleryMissingError, StoreError
from aff_shared.schemas.browsing import GalleryOrder
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import JsonObject
from aff_shared.schemas.payload_filter import PayloadFilter, Scalar
from aff_shared.store.embedded.errors import error_of_call, error_on_opening, is_of_the_engine
from aff_shared.store.embedded.graph import LONGEST_S, QUIET_S, EdgeGraphCopy, copy_files, index_in_child
from aff_shared.store.embedded.shard import EdgeGallery
from aff_shared.store.gallery_store import (
    Embedding,
    GalleryHit,
    GalleryPage,
    GalleryPoint,
    GalleryRecord,
    NearestQuery,
    RecordPage,
)
from aff_shared.store.record_paging import RecordScroll, read_page
from aff_shared.store.settings import StoreSettings

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class QdrantEdgeStore:
    """A collection in a local directory, for one process and one event loop; made by `open`."""

    name = "qdrant_edge"

    def __init__(self, settings: StoreSettings, path: Path, gallery: EdgeGallery) -> None:
        self._settings = settings
        self._path = path
        self._gallery = gallery
        self._engine = ThreadPoolExecutor(max_workers=1, thread_name_prefix=self.name)
        self._calls: set[Future[Any]] = set()  # unfinished ones in that thread
        self._writing = asyncio.Lock()  # also held while files are copied, and when a copy is adopted
        self._quiet: asyncio.TimerHandle | None = None
        self._index_by = 0.0
        self._indexing: asyncio.Task[None] | None = None
        self._closed = False
        self._is_indexed = False

    @classmethod
    async def open(cls, path: Path, settings: StoreSettings) -> QdrantEdgeStore:
        """Open the collection in a directory, which is made if it is missing.

        Raises:
            StoreLockedError: Another store holds the directory.
            StoreDamagedError: Its files are damaged.
            StoreUnavailableError: The directory cannot be read.
        """
        try:
            gallery = await asyncio.to_thread(EdgeGallery, path, settings)
        except BaseException as error:
            if isinstance(error, StoreError) or not is_of_the_engine(error):
                raise
            raise error_on_opening(error, path) from error
        store = cls(settings, path, gallery)
        store._index_when_quiet()
        return store

    async def create(self, space: EmbeddingSpace) -> None:
        """Create the gallery for vectors of `space`; does nothing if it exists already."""
        await self._call(lambda: self._gallery.create(space))  # nothing is copied before it

    async def space(self) -> EmbeddingSpace:
        """Return the space that is written in the gallery."""
        return await self._call(lambda: self._gallery.space)

    async def index_payload(self) -> None:
        """Create the payload indexes of the declared keys, if they are missing."""
        while await self._write(self._gallery.index_payload):  # searches get a turn in between
            pass
        self._is_indexed = True

    async def upsert(self, points: Sequence[GalleryPoint]) -> None:
        """Write points, in batches, so that searches get a turn in between."""
        size = self._settings.upsert_batch_size
        for start in range(0, len(points), size):
            await self._write(partial(self._gallery.upsert, points[start : start + size]))
        self._index_when_quiet()

    async def fetch(self, item_ids: Sequence[str]) -> dict[str, GalleryPoint]:
        """Return the points of those ids that exist, by item id."""
        return await self._call(lambda: self._gallery.fetch(item_ids))

    async def set_payload(self, item_id: str, payload: JsonObject) -> None:
        """Replace the caller's payload of a point."""
        await self._write(lambda: self._gallery.set_payload(item_id, payload))

    async def thumbnails(self, item_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the thumbnails of those ids that have one."""
        return await self._call(lambda: self._gallery.thumbnails(item_ids))

    async def delete(self, item_ids: Sequence[str]) -> None:
        """Delete the points of those ids; ids that do not exist are passed over."""
        await self._write(lambda: self._gallery.delete(item_ids))
        self._index_when_quiet()

    async def delete_matching(self, payload_filter: PayloadFilter) -> None:
        """Delete every point that the filter matches."""
        cursor = await self._write(lambda: self._gallery.delete_matching(payload_filter, None))
        while cursor is not None:  # searches get a turn in between
            cursor = await self._write(partial(self._gallery.delete_matching, payload_filter, cursor))
        self._index_when_quiet()

    async def search(self, embedding: Embedding, **query: Unpack[NearestQuery]) -> list[GalleryHit]:
        """Return the nearest records by descending cosine similarity."""
        return await self._call(lambda: self._gallery.search(embedding, **query), here=not self._calls)

    async def most_hits(self) -> int | None:
        """Return None: any number."""
        return None

    async def count(self, payload_filter: PayloadFilter | None = None) -> int:
        """Return the exact number of points (that the filter matches)."""
        return await self._call(lambda: self._gallery.count(payload_filter))

    async def scroll(
        self, *, limit: int, cursor: str | None = None, payload_filter: PayloadFilter | None = None
    ) -> GalleryPage:
        """Return the next `limit` points, in the order of their point ids."""
        return await self._call(lambda: self._gallery.scroll(limit=limit, cursor=cursor, payload_filter=payload_filter))

    async def records(
        self,
        *,
        limit: int,
        order: GalleryOrder,
        cursor: str | None = None,
        payload_filter: PayloadFilter | None = None,
    ) -> RecordPage:
        """Return the next records; a gallery of an earlier release is indexed by time first."""
        if not self._is_indexed:
            await self.index_payload()

        async def read(scroll: RecordScroll) -> list[GalleryRecord]:
            return await self._call(lambda: self._gallery.records(scroll, payload_filter))

        return await read_page(read, limit=limit, order=order, cursor=cursor)

    async def facet(
        self, payload_key: str, *, limit: int, payload_filter: PayloadFilter | None = None
    ) -> list[tuple[Scalar, int]]:
        """Return the most frequent values of a declared key."""
        if not self._is_indexed:
            await self.index_payload()
        return await self._call(lambda: self._gallery.facet(payload_key, limit, payload_filter))

    async def build_graph(self) -> None:
        """Build the HNSW graph now if it pays, instead of after a pause of writes; searches continue."""
        if self._quiet is not None:
            self._quiet.cancel()
        self._start_indexing()
        assert self._indexing is not None, "it was started"
        await self._indexing

    async def close(self) -> None:
        """Cancel an unfinished graph (the next opening starts again), close the shard, release the lock."""
        if self._quiet is not None:
            self._quiet.cancel()
        if self._indexing is not None:
            self._indexing.cancel()
            await asyncio.wait([self._indexing])
        self._closed = True
        async with self._writing:
            await asyncio.get_running_loop().run_in_executor(self._engine, self._gallery.close)
        self._engine.shutdown()

    async def _write(self, work: Callable[[], _Result]) -> _Result:
        """Run blocking work that changes the shard while it is not being copied; errors as `_call`."""
        async with self._writing:
            return await self._call(work)

    async def _call(self, work: Callable[[], _Result], *, here: bool = False) -> _Result:
        """Run blocking work in the engine's thread, or here; the engine's exceptions become a StoreError."""
        if self._closed:
            raise GalleryMissingError("this collection was dropped, or its store was closed")
        try:
            return work() if here else await self._in_thread(work)
        except BaseException as error:
            if isinstance(error, StoreError) or not is_of_the_engine(error):
                raise
            raise error_of_call(error, self._path) from error

    def _in_thread(self, work: Callable[[], _Result]) -> asyncio.Future[_Result]:
        call = self._engine.submit(work)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return asyncio.wrap_future(call)

    def _index_when_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        if self._quiet is None:
            self._index_by = loop.time() + LONGEST_S
        else:
            self._quiet.cancel()
        self._quiet = loop.call_at(min(loop.time() + QUIET_S, self._index_by), self._start_indexing)

    def _start_indexing(self) -> None:
        self._quiet = None
        if self._indexing is None or self._indexing.done():
            self._indexing = asyncio.create_task(self._index())

    async def _index(self) -> None:
        """Build the graph where it pays; a failure costs only speed, so it is logged."""
        try:
            async with self._writing:
                copy = await self._call(self._gallery.begin_copy)
                if copy is None:
                    return
                await copy_files(copy.source, copy.path)
            await index_in_child(copy.path)
            await self._adopt_copy(copy)
        except Exception as error:
            is_foreign = not isinstance(error, StoreError | OSError)
            _logger.warning("no new HNSW graph was built for the gallery: %s", error, exc_info=is_foreign)
        finally:  # a copy that was not adopted would record every changed point
            await self._write(self._gallery.abandon_copy)
            await asyncio.to_thread(self._gallery.sweep)

    async def _adopt_copy(self, copy: EdgeGraphCopy) -> None:
        """Put the copy in the shard's place; searches and writes get a turn between the steps."""
        await self._call(partial(self._gallery.open_copy, copy))
        while await self._call(partial(self._gallery.apply_changes, copy)):
            pass
        await self._write(partial(self._gallery.adopt_copy, copy))
