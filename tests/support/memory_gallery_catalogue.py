"""An honest in-memory catalogue of in-memory stores, which passes the same contract suite as the adapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aff_shared.errors import GalleryMissingError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_catalogue import (
    Collection,
    find_collection,
    in_order,
    live_one,
    require_not_live,
)
from tests.support.memory_gallery_store import MemoryGalleryStore


@dataclass
class _Kept:
    space: EmbeddingSpace
    store: MemoryGalleryStore


class _Restoration:
    def __init__(
        self, built: dict[str, _Kept], replace: Callable[[dict[str, _Kept], Sequence[Collection]], None]
    ) -> None:
        self._built = built
        self._replace = replace

    async def create(self, space: EmbeddingSpace) -> MemoryGalleryStore:
        kept = self._built.setdefault(space.id, _Kept(space, MemoryGalleryStore()))
        await kept.store.create(space)
        return kept.store

    async def take_place(self, collections: Sequence[Collection]) -> None:
        self._replace(self._built, collections)

    async def close(self) -> None:
        pass


class MemoryGalleryCatalogue:
    """Collections in this process's memory.

    `first` is the store of the first collection that is opened; `make` makes those of the others. `closed` states
    whether the catalogue was closed.
    """

    name = "memory"

    def __init__(
        self, first: MemoryGalleryStore | None = None, *, make: Callable[[], MemoryGalleryStore] = MemoryGalleryStore
    ) -> None:
        self.closed = False
        self._restorations: dict[str, dict[str, _Kept]] = {}
        self._first = first
        self._make = make
        self._kept: dict[str, _Kept] = {}
        self._live: str | None = None
        self._live_since: dict[str, datetime] = {}

    async def collections(self) -> list[Collection]:
        if self._first is not None:  # as a server that is unavailable, or has a gallery already
            try:
                space = await self._first.space()
            except GalleryMissingError:
                pass
            else:
                self._kept.setdefault(space.id, _Kept(space, self._first))
                self._live = self._live or space.id
        found = []
        for space_id, kept in self._kept.items():
            try:
                await kept.store.space()
            except GalleryMissingError:
                continue
            found.append(Collection(kept.space, space_id == self._live, self._live_since.get(space_id)))
        return in_order(found)

    async def was_begun(self) -> bool:
        return self._live is not None

    async def collection(self, space: EmbeddingSpace) -> MemoryGalleryStore:
        if space.id not in self._kept:
            store = self._first if self._first is not None and not self._kept else self._make()
            self._kept[space.id] = _Kept(space, store)
        return self._kept[space.id].store

    async def create(self, space: EmbeddingSpace) -> None:
        await (await self.collection(space)).create(space)
        if self._live is None:
            self._make_live(space.id)

    async def switch(self, space_id: str) -> None:
        found = find_collection(await self.collections(), space_id)
        if not found.live:
            self._make_live(found.space.id)

    async def drop(self, space_id: str) -> None:
        found = find_collection(await self.collections(), space_id)
        require_not_live(found)
        self._kept.pop(found.space.id).store.forget()

    async def restoration(self, key: str) -> _Restoration:
        self._restorations = {key: self._restorations.get(key, {})}
        return _Restoration(self._restorations[key], self._replace)

    def _replace(self, built: dict[str, _Kept], collections: Sequence[Collection]) -> None:
        for kept in self._kept.values():
            kept.store.forget()
        self._first, self._restorations = None, {}
        self._kept = dict(built)
        self._live_since = {one.space.id: one.live_since for one in collections if one.live_since is not None}
        self._make_live(live_one(collections).space.id)

    async def close(self) -> None:
        self.closed = True
        for kept in self._kept.values():
            await kept.store.close()

    def _make_live(self, space_id: str) -> None:
        self._live = space_id
        self._live_since[space_id] = datetime.now(UTC)
