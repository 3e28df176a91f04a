"""Builds new collections for an embedded gallery, so that after a kill it has the old ones or the new ones.

They are written in `restoring-<key>/`, which is laid out as a gallery. From the moment that it is called `restored/`,
it counts: the next opening completes the replacement.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.gallery_catalogue import Collection
from aff_shared.store.settings import StoreSettings

NAME_DIGITS = 12


class EdgeRestoration:
    """A restoration of an embedded gallery.

    Args:
        root: Directory of the gallery.
        key: Hexadecimal id of what is restored.
        settings: Settings of the collections.
        adopt: Replaces the gallery's collections with those of a directory.
    """

    def __init__(
        self,
        root: Path,
        key: str,
        settings: StoreSettings,
        adopt: Callable[[Path, Sequence[Collection]], Awaitable[None]],
    ) -> None:
        self._place = root / f"restoring-{key[:NAME_DIGITS]}"
        self._settings = settings
        self._adopt = adopt
        self._stores: dict[str, QdrantEdgeStore] = {}

    async def begin(self) -> None:
        """Remove the files of restorations with other keys."""
        for other in self._place.parent.glob("restoring*"):
            if other != self._place:
                await asyncio.to_thread(shutil.rmtree, other, ignore_errors=True)

    async def create(self, space: EmbeddingSpace) -> QdrantEdgeStore:
        """Return the store of a collection, which is created if it does not exist."""
        name = space.id[:NAME_DIGITS]
        if name not in self._stores:
            place = self._place / "collections" / name
            self._stores[name] = await QdrantEdgeStore.open(place, self._settings)
            await self._stores[name].create(space)
        return self._stores[name]

    async def take_place(self, collections: Sequence[Collection]) -> None:
        """Replace all collections of the gallery with those that were created."""
        await self.close()
        await self._adopt(self._place, collections)

    async def close(self) -> None:
        """Close the stores."""
        for store in self._stores.values():
            await store.close()
        self._stores.clear()


def finish_restore(root: Path) -> None:
    """Replace the former collections with those that were built completely, if any."""
    complete = root / "restored"
    if not complete.exists():
        return
    if (complete / "collections").exists():
        shutil.rmtree(root / "collections", ignore_errors=True)
        (complete / "collections").rename(root / "collections")
    (complete / "catalogue.json").replace(root / "catalogue.json")
    shutil.rmtree(complete)
