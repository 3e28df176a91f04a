"""The collections of an embedded gallery, in one directory.

```
gallery.lock              held while a process has the gallery open
catalogue.json            which collection is live, and since when each was
collections/<12 digits>/  one collection: see directory.py
```

`catalogue.json` is replaced atomically. A gallery of an earlier release, which has its one collection in the directory
itself, is moved into `collections` when it is opened; after a kill, the next opening completes that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from aff_shared.errors import StoreError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.embedded.directory import EdgeManifest, acquire_lock, read_document, replace_durably
from aff_shared.store.embedded.restoration import NAME_DIGITS, EdgeRestoration, finish_restore
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.gallery_catalogue import (
    Collection,
    find_collection,
    in_order,
    live_one,
    require_not_live,
)
from aff_shared.store.settings import StoreSettings


class _CatalogueFile(BaseModel):
    """Content of `catalogue.json`: the id of the live space, and when each space last became live."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    live: str | None = None
    live_since: dict[str, datetime] = Field(default_factory=dict)


class QdrantEdgeCatalogue:
    """A gallery in a local directory, for one process and one event loop; made by `open`."""

    name = "qdrant_edge"

    def __init__(self, settings: StoreSettings, root: Path, lock: int) -> None:
        self._settings = settings
        self._root = root
        self._lock = lock
        self._file = _catalogue_file(root)
        self._stores: dict[str, QdrantEdgeStore] = {}
        self._opening = asyncio.Lock()
        self._changing = asyncio.Lock()

    @classmethod
    async def open(cls, settings: StoreSettings) -> QdrantEdgeCatalogue:
        """Open the gallery at `settings.edge_path`; the directory is made if it is missing.

        Raises:
            StoreLockedError: Another process holds the directory.
            StoreDamagedError: Files in it are damaged.
            StoreUnavailableError: The directory cannot be read.
        """
        root = settings.edge_path.absolute()
        lock = await asyncio.to_thread(acquire_lock, root)
        try:
            await asyncio.to_thread(finish_restore, root)
            await asyncio.to_thread(adopt_earlier_release, root)
            catalogue = cls(settings, root, lock)
            for path in sorted((root / "collections").glob("*/gallery.json")):
                await catalogue.collection(read_document(EdgeManifest, path).embedding_space)
        except BaseException:
            os.close(lock)
            raise
        return catalogue

    async def collections(self) -> list[Collection]:
        """Return the collections of this directory."""
        manifests = [read_document(EdgeManifest, path) for path in (self._root / "collections").glob("*/gallery.json")]
        return in_order([self._described(manifest.embedding_space) for manifest in manifests])

    async def was_begun(self) -> bool:
        """Return whether a collection is live, or was once, as the catalogue's file has it."""
        return self._file.live is not None

    async def collection(self, space: EmbeddingSpace) -> QdrantEdgeStore:
        """Return the store of a collection; it is opened once."""
        name = space.id[:NAME_DIGITS]
        async with self._opening:
            if name not in self._stores:
                self._stores[name] = await QdrantEdgeStore.open(self._path(space.id), self._settings)
            return self._stores[name]

    async def create(self, space: EmbeddingSpace) -> None:
        """Create a collection; the first one is live."""
        async with self._changing:
            await self._forget_if_gone(space)
            await (await self.collection(space)).create(space)
            if self._file.live is None:
                await self._make_live(space.id)

    async def switch(self, space_id: str) -> None:
        """Make a collection the live one; `catalogue.json` is replaced atomically."""
        async with self._changing:
            found = find_collection(await self.collections(), space_id)
            if not found.live:
                await self._make_live(found.space.id)

    async def drop(self, space_id: str) -> None:
        """Delete the directory of a collection that is not live."""
        async with self._changing, self._opening:  # it is not opened again before it is deleted
            found = find_collection(await self.collections(), space_id)
            require_not_live(found)
            path = self._path(found.space.id)
            (path / "gallery.json").unlink()  # without it, the directory is not a collection
            store = self._stores.pop(path.name, None)
            if store is not None:
                await store.close()
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)

    async def restoration(self, key: str) -> EdgeRestoration:
        """Start building collections that will replace all existing ones."""
        restoration = EdgeRestoration(self._root, key, self._settings, self._adopt)
        await restoration.begin()
        return restoration

    async def close(self) -> None:
        """Close every store, and release the directory."""
        for store in self._stores.values():
            await store.close()
        os.close(self._lock)

    async def _make_live(self, space_id: str) -> None:
        since = {**self._file.live_since, space_id: datetime.now(UTC)}
        file = _CatalogueFile(live=space_id, live_since=since)
        await asyncio.to_thread(replace_durably, self._root / "catalogue.json", file.model_dump_json(indent=2))
        self._file = file

    async def _adopt(self, directory: Path, collections: Sequence[Collection]) -> None:
        """Replace the present collections with complete ones; they count once the directory is renamed."""
        live = live_one(collections).space.id
        since = {one.space.id: one.live_since for one in collections if one.live_since is not None}
        file = _CatalogueFile(live=live, live_since=since | {live: datetime.now(UTC)})
        async with self._changing:
            await asyncio.to_thread(replace_durably, directory / "catalogue.json", file.model_dump_json(indent=2))
            await asyncio.to_thread(directory.rename, self._root / "restored")
            async with self._opening:
                for store in self._stores.values():
                    await store.close()
                self._stores.clear()
                await asyncio.to_thread(finish_restore, self._root)
                self._file = _catalogue_file(self._root)

    async def _forget_if_gone(self, space: EmbeddingSpace) -> None:
        """Close the store of a directory that was deleted by other means, so that it is opened again."""
        path = self._path(space.id)
        if path.name in self._stores and not await asyncio.to_thread(path.exists):
            with contextlib.suppress(StoreError):
                await self._stores.pop(path.name).close()

    def _described(self, space: EmbeddingSpace) -> Collection:
        return Collection(space, space.id == self._file.live, self._file.live_since.get(space.id))

    def _path(self, space_id: str) -> Path:
        return self._root / "collections" / space_id[:NAME_DIGITS]


def adopt_earlier_release(root: Path) -> None:
    """Move the one collection of an earlier release into its place, and make it live."""
    old = root / "gallery.json"
    if not old.exists():
        return
    manifest = read_document(EdgeManifest, old)
    place = root / "collections" / manifest.embedding_space.id[:NAME_DIGITS]
    place.mkdir(parents=True, exist_ok=True)
    if (root / manifest.shard).exists():
        (root / manifest.shard).rename(place / manifest.shard)
    replace_durably(place / "gallery.json", old.read_text())
    live = _CatalogueFile(live=manifest.embedding_space.id)
    replace_durably(root / "catalogue.json", live.model_dump_json(indent=2))
    old.unlink()
    for leftover in root.glob("shard-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _catalogue_file(root: Path) -> _CatalogueFile:
    path = root / "catalogue.json"
    return read_document(_CatalogueFile, path) if path.exists() else _CatalogueFile()
