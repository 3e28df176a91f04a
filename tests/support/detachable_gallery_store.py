"""A gallery store in memory whose reads can be cut off, as those of a server that goes away."""

from __future__ import annotations

from typing import Any

from aff_contracts.embedding_space import EmbeddingSpace
from aff_contracts.errors import StoreUnavailableError
from aff_contracts.gallery_store.gallery_store import GalleryHit
from tests.support.memory_gallery_store import MemoryGalleryStore


class DetachableGalleryStore(MemoryGalleryStore):
    """Answers no read while `away`; `space_reads` counts how often it was asked for its space."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.space_reads = 0

    async def space(self) -> EmbeddingSpace:
        self.space_reads += 1
        self._require_reachable()
        return await super().space()

    async def search(self, *args: Any, **options: Any) -> list[GalleryHit]:
        self._require_reachable()
        return await super().search(*args, **options)

    def _require_reachable(self) -> None:
        if self.away:
            raise StoreUnavailableError("the server does not answer")
