"""One collection of a Qdrant server (1.16 or later), through the official async client.

The embedding space is stored in the collection's metadata.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from qdrant_client import models

from aff_shared.errors import GalleryMissingError, StoreRejectedError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import JsonObject
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.store.gallery_store import GalleryPoint
from aff_shared.store.layout import PAYLOAD_KEY, TIME_KEY, missing_indexes, points_of, replaced_points
from aff_shared.store.server.conversion import creation_arguments, read_fan_out_change, to_filter, to_struct
from aff_shared.store.server.reading import ServerCollection

_logger = logging.getLogger(__name__)


class QdrantServerStore(ServerCollection):
    """A gallery in one collection."""

    async def create(self, space: EmbeddingSpace) -> None:
        """Create the collection; several processes may do so at once."""
        if await self._holds(space):
            return
        arguments = creation_arguments(space, self._settings)
        try:
            await self._nodes.administer(lambda client: client.create_collection(self._gallery, **arguments))
        except StoreRejectedError:
            # It may be there by now: another process's, or a timed-out attempt's.
            if not await self._holds(space):
                raise

    async def index_payload(self) -> None:
        """Create the payload indexes that are missing."""
        info = await self.info()
        for key, kind in missing_indexes(self._settings.indexed_keys, info.payload_schema).items():
            try:
                await self._index_key(key, models.PayloadSchemaType(kind))
            except StoreRejectedError as error:
                if self._settings.payload_schema and key != TIME_KEY:
                    raise
                _logger.warning("images cannot be listed or counted by %s: %s", key, error)
        if change := read_fan_out_change(info.config.params, self._settings):
            await self._nodes.administer(
                lambda client: client.update_collection(self._gallery, collection_params=change)
            )

    async def upsert(self, points: Sequence[GalleryPoint]) -> None:
        """Write points in batches; returns when the server has applied them."""
        await self._in_parts(self._upsert, points, (await self._limits()).batch_size)
        replaced = replaced_points([point.record.item_id for point in points])
        await self._in_parts(self._delete_points, replaced, len(replaced))

    async def set_payload(self, item_id: str, payload: JsonObject) -> None:
        """Replace the caller's payload of a point."""
        # By a filter, which passes over what does not exist.
        there = models.Filter(must=[models.HasIdCondition(has_id=[*points_of([item_id])])])
        part = {PAYLOAD_KEY: payload}
        await self._nodes.call(lambda client: client.set_payload(self._gallery, part, points=there, wait=True))

    async def delete(self, item_ids: Sequence[str]) -> None:
        """Delete the points of those ids; ids that do not exist are passed over."""
        points = [*points_of(item_ids)]
        await self._in_parts(self._delete_points, points, len(points))

    async def delete_matching(self, payload_filter: PayloadFilter) -> None:
        """Delete every point that the filter matches."""
        await self._delete(models.FilterSelector(filter=to_filter(payload_filter)))

    async def _upsert(self, batch: Sequence[GalleryPoint]) -> None:
        structs = [to_struct(point) for point in batch]
        await self._nodes.call(lambda client: client.upsert(self._gallery, structs, wait=True))

    async def _delete_points(self, points: Sequence[str]) -> None:
        await self._delete(models.PointIdsList(points=[*points]))

    async def _delete(self, selector: models.PointsSelector) -> None:
        await self._nodes.call(lambda client: client.delete(self._gallery, selector, wait=True))

    async def _index_key(self, key: str, kind: models.PayloadSchemaType) -> None:
        await self._nodes.administer(lambda client: client.create_payload_index(self._gallery, key, kind, wait=True))

    async def _holds(self, space: EmbeddingSpace) -> bool:
        """Return whether the collection exists; raises if it exists with another space."""
        try:
            found = await self.space()
        except GalleryMissingError:
            return False
        space.require_same(found, here="the model bundle", there=f"the gallery {self._gallery!r}")
        return True
