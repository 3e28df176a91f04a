"""The collections of a gallery on a Qdrant server: the gallery's name is an alias of the live one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from qdrant_client import AsyncQdrantClient, models

from aff_contracts.embedding_space import EmbeddingSpace
from aff_contracts.errors import GalleryMissingError, StoreRejectedError
from aff_contracts.gallery_store.gallery_catalogue import (
    Collection,
    find_collection,
    in_order,
    require_not_live,
)
from aff_contracts.gallery_store.layout import LIVE_SINCE_KEY, SPACE_KEY
from aff_contracts.gallery_store.qdrant_server import QdrantServerStore
from aff_contracts.gallery_store.server_nodes import Request, ServerNodes
from aff_contracts.gallery_store.server_snapshots import Snapshot, SnapshotList, read_snapshots
from aff_contracts.gallery_store.server_version import require_supported
from aff_contracts.gallery_store.settings import StoreSettings

_Result = TypeVar("_Result")

_SNAPSHOT_TIMEOUT_S = 3600.0


class QdrantServerCatalogue:
    """A gallery on a server; every collection is called `<gallery>-<12 digits of its space id>`."""

    name = "qdrant_server"

    def __init__(self, settings: StoreSettings, client: AsyncQdrantClient | None = None) -> None:
        """Take the settings, and a client if not theirs; the network waits for the first call."""
        self._settings = settings
        self._gallery = settings.collection
        self._nodes = ServerNodes(settings, client)
        self._stores: dict[str, QdrantServerStore] = {}
        self._is_supported = False

    async def collections(self) -> list[Collection]:
        """Return the collections of this gallery.

        Raises:
            StoreRejectedError: The server is too old for the settings.
        """
        await self._require_supported()
        live = await self._live_name()
        response = await self._read(lambda client: client.get_collections())
        names = [one.name for one in response.collections if one.name.startswith(f"{self._gallery}-")]
        found = [await self._described(name, live=name == live) for name in names]
        return in_order([collection for collection in found if collection is not None])

    async def was_begun(self) -> bool:
        """Return whether a collection is live, or was once; nothing is known of collections that are gone."""
        return any(one.live or one.live_since is not None for one in await self.collections())

    async def collection(self, space: EmbeddingSpace) -> QdrantServerStore:
        """Return the store of a collection."""
        return self._store(self._name_of(space.id))

    async def create(self, space: EmbeddingSpace) -> None:
        """Create a collection, and the alias where it is missing; one process may finish what another began."""
        await self._require_supported()
        await self._require_alias_to_be_ours()
        await (await self.collection(space)).create(space)
        if await self._live_name() is None:
            await self._make_live(space, None)

    async def switch(self, space_id: str) -> None:
        """Point the alias to another collection: deleted and created in one operation of the server."""
        found = find_collection(await self.collections(), space_id)
        if not found.live:
            await self._make_live(found.space, await self._live_name())

    async def drop(self, space_id: str) -> None:
        """Delete a collection that is not live."""
        found = find_collection(await self.collections(), space_id)
        require_not_live(found)
        await self._nodes.call(lambda client: client.delete_collection(self._name_of(found.space.id)))

    async def backup(self, directory: Path) -> None:
        """Have the server make a snapshot of each collection, which stays there, and note their names."""
        snapshots = []
        for collection in await self.collections():
            name = self._name_of(collection.space.id)
            made = await self._make_snapshot(name)
            snapshots.append(Snapshot(collection=name, name=made, space=collection.space, live=collection.live))
        text = SnapshotList(snapshots=snapshots).model_dump_json(indent=2)
        await asyncio.to_thread((directory / "snapshots.json").write_text, text)

    async def restore(self, directory: Path) -> None:
        """Have the server recover the snapshots, and drop the collections that the backup does not have."""
        backup = await asyncio.to_thread(read_snapshots, directory)
        before = await self.collections()
        for snapshot in backup.snapshots:
            await self._recover(snapshot)
        live = next(snapshot for snapshot in backup.snapshots if snapshot.live)
        await self._make_live(live.space, await self._live_name())
        kept = {snapshot.space.id for snapshot in backup.snapshots}
        for collection in before:
            if collection.space.id not in kept:
                await self.drop(collection.space.id)

    async def close(self) -> None:
        """Close the connections."""
        await self._nodes.close()

    async def _make_live(self, space: EmbeddingSpace, former: str | None) -> None:
        name = self._name_of(space.id)
        operations: list[Any] = []
        if former is not None:
            operations.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self._gallery)))
        alias = models.CreateAlias(collection_name=name, alias_name=self._gallery)
        operations.append(models.CreateAliasOperation(create_alias=alias))
        await self._nodes.call(lambda client: client.update_collection_aliases(operations))
        metadata = {SPACE_KEY: space.model_dump(), LIVE_SINCE_KEY: datetime.now(UTC).isoformat()}
        await self._nodes.call(lambda client: client.update_collection(name, metadata=metadata))

    async def _make_snapshot(self, collection: str) -> str:
        made = await self._patiently(lambda client: client.create_snapshot(collection, wait=True))
        if made is None:
            raise StoreRejectedError(f"the server made no snapshot of {collection!r}")
        return made.name

    async def _recover(self, snapshot: Snapshot) -> None:
        location = f"file://{self._settings.snapshots_path}/{snapshot.collection}/{snapshot.name}"
        priority = models.SnapshotPriority.SNAPSHOT
        await self._patiently(
            lambda client: client.recover_snapshot(snapshot.collection, location, priority=priority, wait=True)
        )

    async def _patiently(self, request: Request[_Result]) -> _Result:
        """Call the server once, for as long as it takes to copy a collection."""
        return await self._nodes.call(request, only_try_s=_SNAPSHOT_TIMEOUT_S)

    async def _require_supported(self) -> None:
        if not self._is_supported:
            version = await self._read(lambda client: client.info())
            require_supported(self._settings, version.version)
            self._is_supported = True

    def _store(self, name: str) -> QdrantServerStore:
        return self._stores.setdefault(name, QdrantServerStore(self._nodes, name))

    async def _live_name(self) -> str | None:
        response = await self._read(lambda client: client.get_aliases())
        return next((one.collection_name for one in response.aliases if one.alias_name == self._gallery), None)

    async def _described(self, name: str, *, live: bool) -> Collection | None:
        """Describe a collection; None where it is none of ours, or was dropped at this moment."""
        try:
            info = await self._store(name).info()
        except GalleryMissingError:
            return None
        metadata = info.config.metadata or {}
        try:
            space = EmbeddingSpace.model_validate(metadata.get(SPACE_KEY))
        except ValidationError:
            return None
        since = metadata.get(LIVE_SINCE_KEY)
        if name != self._name_of(space.id):
            return None
        return Collection(space, live, datetime.fromisoformat(since) if since else None)

    async def _require_alias_to_be_ours(self) -> None:
        """Raise where the gallery's name is that of a collection, which an alias cannot have, too."""
        response = await self._read(lambda client: client.get_collections())
        if any(one.name == self._gallery for one in response.collections):
            raise StoreRejectedError(
                f"{self._gallery!r} is a collection and not an alias, so it is not a gallery of this system; set "
                f"QDRANT_COLLECTION to another name"
            )

    def _name_of(self, space_id: str) -> str:
        return f"{self._gallery}-{space_id[:12]}"

    async def _read(self, request: Request[_Result]) -> _Result:
        return await self._nodes.call(request, reads=True)
