"""The collections of a gallery on a Qdrant server: the gallery's name is an alias of the live one.

Restored collections have other names; see `restoration`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from qdrant_client import AsyncQdrantClient, models

from aff_shared.errors import GalleryMissingError, StoreRejectedError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_catalogue import (
    Collection,
    find_collection,
    in_order,
    live_one,
    require_not_live,
)
from aff_shared.store.layout import LIVE_SINCE_KEY, SPACE_KEY
from aff_shared.store.server.conversion import space_of
from aff_shared.store.server.limits import require_supported
from aff_shared.store.server.nodes import Request, ServerNodes
from aff_shared.store.server.restoration import (
    ServerRestoration,
    collection_name,
    generation_of,
    new_generation,
)
from aff_shared.store.server.store import QdrantServerStore
from aff_shared.store.settings import StoreSettings

_Result = TypeVar("_Result")

_FOLLOWED_S = 5.0  # after which every process has noticed another generation


class QdrantServerCatalogue:
    """A gallery on a server; every collection is called `<gallery>-<12 digits of its space id>`, or as restored."""

    name = "qdrant_server"

    def __init__(self, settings: StoreSettings, client: AsyncQdrantClient | None = None) -> None:
        """Take the settings, and a client if not theirs; the network waits for the first call."""
        self._settings = settings
        self._gallery = settings.gallery
        self._nodes = ServerNodes(settings, client)
        self._generation = ""
        self._stores: dict[str, QdrantServerStore] = {}
        self._is_supported = False

    async def collections(self) -> list[Collection]:
        """Return the collections of this gallery.

        Raises:
            StoreRejectedError: The server is too old for the settings.
        """
        await self._require_supported()
        live = await self._live_name()
        described = {name: await self._described(name, live=name == live) for name in await self._names()}
        found = {name: one for name, one in described.items() if one is not None}
        first = next(iter(in_order([*found.values()])), None)
        if first is not None and (first.live or first.live_since is not None):
            self._follow(next(name for name, one in found.items() if one is first))
        ours = [one for name, one in found.items() if generation_of(name, self._gallery) == self._generation]
        return in_order(ours)

    async def was_begun(self) -> bool:
        """Return whether a collection is live, or was once; deleted collections are unknown."""
        return any(one.live or one.live_since is not None for one in await self.collections())

    async def collection(self, space: EmbeddingSpace) -> QdrantServerStore:
        """Return the store of a collection."""
        return self._store(self._name_of(space.id))

    async def create(self, space: EmbeddingSpace) -> None:
        """Create a collection, and the alias if it is missing; one process may finish what another began."""
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
        await self._delete(self._name_of(found.space.id))

    async def restoration(self, key: str) -> ServerRestoration:
        """Start building collections that will replace all existing ones."""
        await self.collections()
        await self._require_alias_to_be_ours()
        generation = new_generation(key, await self._live_name())
        await self._drop_all_but({self._generation, generation})
        return ServerRestoration(self._nodes, self._gallery, generation, self._adopt)

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
        await self._nodes.administer(lambda client: client.update_collection_aliases(operations))
        await self._note_live_since(space, datetime.now(UTC))

    async def _note_live_since(self, space: EmbeddingSpace, since: datetime) -> None:
        name = self._name_of(space.id)
        metadata = {SPACE_KEY: space.model_dump(), LIVE_SINCE_KEY: since.isoformat()}
        await self._nodes.administer(lambda client: client.update_collection(name, metadata=metadata))

    async def _names(self) -> list[str]:
        """Return the names of collections that are this gallery's, by what they are called."""
        response = await self._read(lambda client: client.get_collections())
        return [one.name for one in response.collections if generation_of(one.name, self._gallery) is not None]

    async def _adopt(self, generation: str, collections: Sequence[Collection]) -> None:
        """Point the alias to another generation, and drop the former one when it is no longer used."""
        live, former = live_one(collections), await self._live_name()
        self._follow(collection_name(self._gallery, live.space.id, generation))
        await self._make_live(live.space, former)
        for other in collections:
            if not other.live and other.live_since is not None:
                await self._note_live_since(other.space, other.live_since)
        await asyncio.sleep(_FOLLOWED_S)
        await self._drop_all_but({generation})

    async def _drop_all_but(self, generations: set[str]) -> None:
        """Drop the collections of this gallery that are of other generations."""
        for name in await self._names():
            is_ours = await self._described(name, live=False) is not None
            if is_ours and generation_of(name, self._gallery) not in generations:
                await self._delete(name)

    def _follow(self, live: str) -> None:
        """Switch to the live one's generation: existing stores address its collections from now on."""
        former, self._generation = self._generation, generation_of(live, self._gallery) or ""
        if former == self._generation:
            return
        for name in [name for name in self._stores if generation_of(name, self._gallery) == former]:
            store = self._stores.pop(name)
            successor = name.removesuffix(former) + self._generation
            store.address(successor)
            self._stores[successor] = store

    def _store(self, name: str) -> QdrantServerStore:
        return self._stores.setdefault(name, QdrantServerStore(self._nodes, name))

    async def _delete(self, name: str) -> None:
        await self._nodes.administer(lambda client: client.delete_collection(name))

    async def _require_supported(self) -> None:
        if not self._is_supported:
            version = await self._read(lambda client: client.info())
            require_supported(self._settings, version.version)
            self._is_supported = True

    async def _live_name(self) -> str | None:
        response = await self._read(lambda client: client.get_aliases())
        return next((one.collection_name for one in response.aliases if one.alias_name == self._gallery), None)

    async def _described(self, name: str, *, live: bool) -> Collection | None:
        """Return the description of a collection; None if it is not part of this gallery, or was just dropped."""
        try:
            info = await self._store(name).info()
        except GalleryMissingError:
            return None
        space, since = space_of(info), (info.config.metadata or {}).get(LIVE_SINCE_KEY)
        if space is None or name != collection_name(self._gallery, space.id, generation_of(name, self._gallery) or ""):
            return None
        return Collection(space, live, datetime.fromisoformat(since) if since else None)

    async def _require_alias_to_be_ours(self) -> None:
        """Raise where the gallery's name is that of a collection, which an alias cannot have, too."""
        response = await self._read(lambda client: client.get_collections())
        if any(one.name == self._gallery for one in response.collections):
            raise StoreRejectedError(
                f"{self._gallery!r} is a collection and not an alias, so it is not a gallery of this system; set "
                f"QDRANT_COLLECTION or QDRANT_COLLECTION_PREFIX to another name"
            )

    def _name_of(self, space_id: str) -> str:
        return collection_name(self._gallery, space_id, self._generation)

    async def _read(self, request: Request[_Result]) -> _Result:
        return await self._nodes.administer(request, reads=True)
