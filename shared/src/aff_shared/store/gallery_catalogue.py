"""The Protocol of the catalogue: a gallery's collections, one of which is live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aff_shared.errors import CollectionLiveError, CollectionNotFoundError, GalleryMissingError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_store import GalleryStore
from aff_shared.store.settings import StoreSettings


@dataclass(frozen=True, slots=True)
class Collection:
    """The gallery in one embedding space.

    Attributes:
        space: Its embedding space; the first 12 digits of its id name the collection.
        live: Whether searches use this collection.
        live_since: When it became live last; None if it never was, or where that is not known.
    """

    space: EmbeddingSpace
    live: bool
    live_since: datetime | None = None


_GONE = (
    "the gallery does not exist: its live collection was deleted by other means. Restore it with aff gallery "
    "restore, or create an empty one with aff gallery create"
)


class Restoration(Protocol):
    """New collections of a gallery, which are built unnoticed and then replace the old ones atomically.

    Every method may raise StoreUnavailableError and StoreRejectedError, as those of GalleryStore.
    """

    async def create(self, space: EmbeddingSpace) -> GalleryStore:
        """Return the store of a collection, which is created if it does not exist."""
        ...

    async def take_place(self, collections: Sequence[Collection]) -> None:
        """Replace all collections of the gallery by those that were created; stores of the former ones are closed.

        Args:
            collections: Those that were created: which one is live from now on, and since when the others were.
        """
        ...

    async def close(self) -> None:
        """Release files and threads; what did not take its place is kept for another restoration of its key."""
        ...


class GalleryCatalogue(Protocol):
    """The collections of a gallery: the same images, each embedded by another model.

    Every method may raise StoreUnavailableError and StoreRejectedError, as those of GalleryStore.
    """

    @property
    def name(self) -> str:
        """Adapter's name: `qdrant_edge` or `qdrant_server`."""
        ...

    async def collections(self) -> list[Collection]:
        """Return the collections: the live one first, then by when they were live last; none is an empty list."""
        ...

    async def was_begun(self) -> bool:
        """Return whether a collection is live, or was once: then a gallery that is not there is one that was lost."""
        ...

    async def collection(self, space: EmbeddingSpace) -> GalleryStore:
        """Return the store of a collection, which need not exist yet.

        It is addressed by its own name: what becomes live does not change where its calls go. Closing it is the
        catalogue's affair.
        """
        ...

    async def create(self, space: EmbeddingSpace) -> None:
        """Create a collection where it does not exist, and make it live where none is."""
        ...

    async def switch(self, space_id: str) -> None:
        """Make a collection the live one, at one moment for everybody.

        Raises:
            CollectionNotFoundError: There is no such collection.
        """
        ...

    async def drop(self, space_id: str) -> None:
        """Remove a collection with all its points.

        Raises:
            CollectionNotFoundError: There is no such collection.
            CollectionLiveError: It is the live one.
        """
        ...

    async def restoration(self, key: str) -> Restoration:
        """Start building collections that will replace all existing ones, or continue a restoration of the same key.

        Args:
            key: Hex digits that stand for what is restored; what a restoration of another key left is removed.
        """
        ...

    async def close(self) -> None:
        """Release connections, files and threads, also those of the stores."""
        ...


def live_one(collections: Sequence[Collection], *, seen: bool = False) -> Collection:
    """Return the live collection.

    Args:
        collections: Those of the gallery.
        seen: Whether one was live before.

    Raises:
        GalleryMissingError: There is none.
    """
    for collection in collections:
        if collection.live:
            return collection
    raise GalleryMissingError(_GONE if seen else "no gallery has been created")


def find_collection(collections: Sequence[Collection], space_id: str) -> Collection:
    """Return a collection by its space id, or the beginning of it.

    Raises:
        CollectionNotFoundError: None or several begin so.
    """
    found = [collection for collection in collections if collection.space.id.startswith(space_id)]
    if len(found) != 1:
        known = ", ".join(collection.space.id[:12] for collection in collections) or "none"
        raise CollectionNotFoundError(f"{len(found)} collections begin so; there are {known}", item=space_id)
    return found[0]


def require_not_live(collection: Collection) -> None:
    """Raise CollectionLiveError where searches go to a collection."""
    if collection.live:
        raise CollectionLiveError("the live collection cannot be dropped; switch first", item=collection.space.id[:12])


def in_order(collections: Sequence[Collection]) -> list[Collection]:
    """Put the live collection first, then those that were live last, then the others."""

    def key(collection: Collection) -> tuple[bool, float, str]:
        since = collection.live_since.timestamp() if collection.live_since else 0.0
        return (not collection.live, -since, collection.space.id)

    return sorted(collections, key=key)


async def open_catalogue(settings: StoreSettings) -> GalleryCatalogue:
    """Open the gallery; only the adapter that is used is imported.

    Raises:
        StoreLockedError: Another process holds the embedded engine's directory.
        StoreDamagedError: Files of the embedded engine are damaged.
        StoreUnavailableError: The embedded engine's directory cannot be read.
    """
    if settings.url:
        from aff_shared.store.server.catalogue import QdrantServerCatalogue  # noqa: PLC0415

        return QdrantServerCatalogue(settings)
    from aff_shared.store.embedded.catalogue import QdrantEdgeCatalogue  # noqa: PLC0415

    return await QdrantEdgeCatalogue.open(settings)
