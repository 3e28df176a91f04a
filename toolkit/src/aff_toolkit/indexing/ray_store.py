"""The gallery store as the stages of a Ray job use it: blocking, from any process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from importlib import import_module
from typing import Any, Protocol, TypeVar

from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import JsonObject
from aff_shared.store.gallery_catalogue import GalleryCatalogue, open_catalogue
from aff_shared.store.gallery_store import GalleryPoint
from aff_shared.store.retry import retry_for
from aff_shared.store.settings import StoreSettings

_Result = TypeVar("_Result")

_WAIT_S = 300.0


class StageStore(Protocol):
    """A collection, as the stages use it."""

    def fetch(self, item_ids: Sequence[str]) -> dict[str, GalleryPoint]:
        """See GalleryStore."""
        ...

    def upsert(self, points: Sequence[GalleryPoint]) -> None:
        """See GalleryStore."""
        ...

    def set_payload(self, item_id: str, payload: JsonObject) -> None:
        """See GalleryStore."""
        ...


class OpenedStore:
    """A store of this process with a separate event loop; the collection is created.

    Args:
        settings: Settings of the store.
        space: Embedding space of the collection.
    """

    def __init__(self, settings: StoreSettings, space: EmbeddingSpace) -> None:
        self._loop = asyncio.new_event_loop()
        self._catalogue: GalleryCatalogue = self._run(open_catalogue(settings))
        self._run(self._catalogue.create(space))
        self._store = self._run(self._catalogue.collection(space))

    def fetch(self, item_ids: Sequence[str]) -> dict[str, GalleryPoint]:
        """See GalleryStore."""
        return self._run(retry_for(lambda: self._store.fetch(item_ids), wait_s=_WAIT_S))

    def upsert(self, points: Sequence[GalleryPoint]) -> None:
        """See GalleryStore."""
        self._run(retry_for(lambda: self._store.upsert(points), wait_s=_WAIT_S))

    def set_payload(self, item_id: str, payload: JsonObject) -> None:
        """See GalleryStore."""
        self._run(retry_for(lambda: self._store.set_payload(item_id, payload), wait_s=_WAIT_S))

    def close(self) -> None:
        """Close the store."""
        self._run(self._catalogue.close())
        self._loop.close()

    def _run(self, call: Coroutine[Any, Any, _Result]) -> _Result:
        return self._loop.run_until_complete(call)


class ActorStore:
    """A store that an actor holds: the embedded engine belongs to one process.

    Args:
        actor: Ray's handle of an OpenedStore.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def fetch(self, item_ids: Sequence[str]) -> dict[str, GalleryPoint]:
        """See GalleryStore."""
        found: dict[str, GalleryPoint] = _ray().get(self._actor.fetch.remote(item_ids))
        return found

    def upsert(self, points: Sequence[GalleryPoint]) -> None:
        """See GalleryStore."""
        _ray().get(self._actor.upsert.remote(points))

    def set_payload(self, item_id: str, payload: JsonObject) -> None:
        """See GalleryStore."""
        _ray().get(self._actor.set_payload.remote(item_id, payload))


def _ray() -> Any:
    """Import Ray, an optional extra, in a process that it started."""
    return import_module("ray")
