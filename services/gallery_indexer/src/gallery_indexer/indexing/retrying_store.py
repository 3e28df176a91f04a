"""The store as indexing uses it: when it is away, indexing waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import JsonObject
from aff_shared.store.gallery_store import GalleryPoint, GalleryStore
from aff_shared.store.retry import retry_for

_Result = TypeVar("_Result")


class RetryingStore:
    """Repeats a call while the store is unavailable, so that an outage costs time and no image.

    Args:
        store: The gallery store.
        wait_s: Longest wait for a store that is away, in seconds; then its StoreUnavailableError is raised. Any other
            error is raised at once.
    """

    def __init__(self, store: GalleryStore, *, wait_s: float) -> None:
        self._store = store
        self._wait_s = wait_s

    async def space(self) -> EmbeddingSpace:
        """See GalleryStore."""
        return await self._patiently(self._store.space)

    async def fetch(self, item_ids: Sequence[str]) -> dict[str, GalleryPoint]:
        """See GalleryStore."""
        return await self._patiently(lambda: self._store.fetch(item_ids))

    async def set_payload(self, item_id: str, payload: JsonObject) -> None:
        """See GalleryStore."""
        await self._patiently(lambda: self._store.set_payload(item_id, payload))

    async def upsert(self, points: Sequence[GalleryPoint]) -> None:
        """See GalleryStore."""
        await self._patiently(lambda: self._store.upsert(points))

    async def _patiently(self, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        return await retry_for(attempt, wait_s=self._wait_s)
