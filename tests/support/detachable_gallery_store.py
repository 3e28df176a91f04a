"""A gallery store in memory that can be out of reach, as a server is that goes away."""

from __future__ import annotations

from aff_shared.errors import StoreUnavailableError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from tests.support.memory_gallery_store import MemoryGalleryStore


class DetachableGalleryStore(MemoryGalleryStore):
    """Raises instead of returning its space while `away`; `space_reads` counts the reads of the space."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.space_reads = 0

    async def space(self) -> EmbeddingSpace:
        self.space_reads += 1
        if self.away:
            raise StoreUnavailableError("the server does not answer")
        return await super().space()
