"""A gallery store in memory that can be cut off, as a server is that goes away."""

from __future__ import annotations

from collections.abc import Sequence

from aff_shared.errors import StoreUnavailableError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_store import GalleryPoint
from tests.support.memory_gallery_store import MemoryGalleryStore


class InterruptibleGalleryStore(MemoryGalleryStore):
    """Writes until `writes_left` is used up; `create` fails like any write then. None means no limit.

    `refused` counts the writes that failed.
    """

    def __init__(self, writes_left: int | None = None, space: EmbeddingSpace | None = None) -> None:
        super().__init__(space)
        self.writes_left = writes_left
        self.refused = 0
        self.closed = False

    async def create(self, space: EmbeddingSpace) -> None:
        if self.writes_left == 0:
            raise StoreUnavailableError("the server does not answer")
        await super().create(space)

    async def upsert(self, points: Sequence[GalleryPoint]) -> None:
        if self.writes_left == 0:
            self.refused += 1
            raise StoreUnavailableError("the server does not answer")
        if self.writes_left is not None:
            self.writes_left -= 1
        await super().upsert(points)

    async def close(self) -> None:
        self.closed = True
        await super().close()
