"""Deletes images and changes payloads, in every collection; nothing is embedded again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aff_shared.errors import ImageNotFoundError
from aff_shared.schemas.indexing import JsonObject
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.store.gallery_store import GalleryStore
from gallery_indexer.collections.index_collections import IndexCollections
from gallery_indexer.indexing.payload_limits import PayloadLimits, require_storable

_PAGE = 1000


class EditGallery:
    """Deletes images, and changes their payloads.

    Args:
        collections: The collections of the gallery.
        payload_limits: Limits of payloads.
    """

    def __init__(self, collections: IndexCollections, payload_limits: PayloadLimits) -> None:
        self._collections = collections
        self._payload_limits = payload_limits
        self._changing = asyncio.Lock()

    async def delete(self, item_ids: Sequence[str]) -> int:
        """Delete images by their ids; returns how many the live collection had.

        Raises:
            StoreError: The store failed.
        """
        live, *others = await self._collections.stores()
        deleted = len(await live.fetch(item_ids))
        for store in (*others, live):  # the live one last: a failed deletion is visible until then and can be repeated
            await store.delete(item_ids)
        return deleted

    async def delete_matching(self, payload_filter: PayloadFilter) -> int:
        """Delete the images whose payload matches; returns how many the live collection had."""
        live, *others = await self._collections.stores()
        deleted = await live.count(payload_filter)
        for store in (*others, live):
            await store.delete_matching(payload_filter)
        return deleted

    async def delete_all(self) -> int:
        """Delete every image, but no collection; returns how many the live collection had."""
        live, *others = await self._collections.stores()
        deleted = await live.count()
        for store in (*others, live):
            await _empty(store)
        return deleted

    async def change_payload(self, item_id: str, change: Callable[[JsonObject], JsonObject]) -> JsonObject:
        """Replace an image's payload by the result of a function of it; returns the new payload.

        Changes are made one after the other, so that none is lost.

        Raises:
            ImageNotFoundError: The gallery has no image with this id.
            InvalidItemsError: The new payload cannot be stored.
            StoreError: The store failed.
        """
        async with self._changing:
            stores = await self._collections.stores()
            point = (await stores[0].fetch([item_id])).get(item_id)
            if point is None:
                raise ImageNotFoundError("the gallery has no image with this id", item=item_id)
            payload = change(point.record.payload)
            require_storable(payload, self._payload_limits, item=item_id)
            for store in stores:
                await store.set_payload(item_id, payload)
            return payload


def merged(payload: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396): members of objects are merged, null removes one, other values replace."""
    if not isinstance(patch, dict):
        return patch
    result = dict(payload) if isinstance(payload, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


async def _empty(store: GalleryStore) -> None:
    while points := (await store.scroll(limit=_PAGE)).points:
        await store.delete([point.record.item_id for point in points])
