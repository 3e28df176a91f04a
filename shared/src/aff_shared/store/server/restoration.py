"""Builds new collections for a gallery on a server.

Restored collections are named `<gallery>-<12 digits>-r<8 digits>`, with the same last digits for all of its
collections: its generation. The collections of a gallery are those of the live one's generation. So the one operation
that points the alias to another generation replaces all of them, for every process that follows the gallery.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence

from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_catalogue import Collection
from aff_shared.store.server.nodes import ServerNodes
from aff_shared.store.server.store import QdrantServerStore

_REST_OF_NAME = re.compile(r"-[0-9a-f]{12}(|-r[0-9a-f]{8})")


def collection_name(gallery: str, space_id: str, generation: str) -> str:
    """Return the name of a collection."""
    return f"{gallery}-{space_id[:12]}{generation}"


def generation_of(name: str, gallery: str) -> str | None:
    """Return the generation in the name of a collection, empty before any restoration; None of other galleries."""
    found = _REST_OF_NAME.fullmatch(name.removeprefix(gallery)) if name.startswith(gallery) else None
    return None if found is None else found[1]


def new_generation(key: str, live: str | None) -> str:
    """Return the generation of a restoration: the same while the same one is live, and never that one's own."""
    return f"-r{hashlib.sha256(f'{key} {live}'.encode()).hexdigest()[:8]}"


class ServerRestoration:
    """A restoration of a gallery on a server.

    Args:
        nodes: The server.
        gallery: Name of the gallery.
        generation: Generation of the restored collections.
        adopt: Makes a generation that of the gallery.
    """

    def __init__(
        self,
        nodes: ServerNodes,
        gallery: str,
        generation: str,
        adopt: Callable[[str, Sequence[Collection]], Awaitable[None]],
    ) -> None:
        self._nodes = nodes
        self._gallery = gallery
        self._generation = generation
        self._adopt = adopt

    async def create(self, space: EmbeddingSpace) -> QdrantServerStore:
        """Return the store of a collection, which is created if it does not exist."""
        store = QdrantServerStore(self._nodes, collection_name(self._gallery, space.id, self._generation))
        await store.create(space)
        return store

    async def take_place(self, collections: Sequence[Collection]) -> None:
        """Replace all collections of the gallery with those that were created."""
        await self._adopt(self._generation, collections)

    async def close(self) -> None:
        """Do nothing: the connections are the catalogue's."""
