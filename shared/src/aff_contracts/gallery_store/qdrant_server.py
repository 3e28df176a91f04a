"""One collection of a Qdrant server (1.16 or later), through the official async client.

The embedding space stands in the collection's metadata.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pydantic import ValidationError
from qdrant_client import AsyncQdrantClient, models

from aff_contracts.embedding_space import EmbeddingSpace
from aff_contracts.errors import GalleryMissingError, StoreRejectedError
from aff_contracts.gallery_store.gallery_store import Embedding, GalleryHit, GalleryPage, GalleryPoint
from aff_contracts.gallery_store.layout import (
    PAYLOAD_KEY,
    SPACE_KEY,
    THUMBNAIL_KEY,
    VECTOR_NAME,
    by_item,
    exclusive_threshold,
    filter_key,
    from_payload,
    is_indexed,
    points_of,
    replaced_points,
    thumbnail_of,
)
from aff_contracts.gallery_store.server_calls import call_server
from aff_contracts.gallery_store.server_collection import creation_arguments, search_parameters
from aff_contracts.gallery_store.server_points import embedding_of, from_record, to_filter, to_struct
from aff_contracts.gallery_store.settings import StoreSettings
from aff_contracts.schemas.indexing import JsonObject
from aff_contracts.schemas.payload_filter import PayloadFilter

_Result = TypeVar("_Result")

_WITHOUT_THUMBNAIL = models.PayloadSelectorExclude(exclude=[THUMBNAIL_KEY])


class QdrantServerStore:
    """A gallery in one collection.

    Args:
        settings: How the server is called, and how a collection is made.
        client: Connected to the server; the caller closes it.
        collection: Name of the collection.
    """

    name = "qdrant_server"

    def __init__(self, settings: StoreSettings, client: AsyncQdrantClient, collection: str) -> None:
        self._settings = settings
        self._client = client
        self._gallery = collection

    async def create(self, space: EmbeddingSpace) -> None:
        """Create the collection; several processes may do so at once."""
        if await self._holds(space):
            return
        arguments = creation_arguments(space, self._settings)
        try:
            await self._call(lambda: self._client.create_collection(self._gallery, **arguments))
        except StoreRejectedError:
            # It may be there by now: another process's, or a timed-out attempt's.
            if not await self._holds(space):
                raise

    async def space(self) -> EmbeddingSpace:
        """Return the space that is written in the collection's metadata."""
        info = await self._call(lambda: self._client.get_collection(self._gallery))
        try:
            return EmbeddingSpace.model_validate((info.config.metadata or {}).get(SPACE_KEY))
        except ValidationError as error:
            raise StoreRejectedError(
                f"the collection {self._gallery!r} has no embedding space in its metadata, so it is not a gallery of "
                f"this system; set QDRANT_COLLECTION to another name"
            ) from error

    async def index_payload(self) -> None:
        """Create the payload indexes of the declared keys, where they are missing."""
        info = await self._call(lambda: self._client.get_collection(self._gallery))
        for key, kind in self._settings.payload_schema.items():
            if not is_indexed(key, info.payload_schema):
                await self._index_key(filter_key(key), models.PayloadSchemaType(kind))

    async def upsert(self, points: Sequence[GalleryPoint]) -> None:
        """Write points in batches; returns when the server has applied them."""
        size = self._settings.upsert_batch_size
        for start in range(0, len(points), size):
            await self._upsert(points[start : start + size])
        if replaced := replaced_points([point.record.item_id for point in points]):
            await self._delete(models.PointIdsList(points=[*replaced]))

    async def fetch(self, item_ids: Sequence[str]) -> dict[str, GalleryPoint]:
        """Return the points of those ids that exist, by item id."""
        asked = points_of(item_ids)
        records = await self._call(
            lambda: self._client.retrieve(self._gallery, [*asked], with_payload=_WITHOUT_THUMBNAIL, with_vectors=True)
        )
        return by_item({str(record.id): from_record(record) for record in records}, asked)

    async def set_payload(self, item_id: str, payload: JsonObject) -> None:
        """Replace the caller's payload of a point."""
        # By a filter, which passes over what does not exist.
        there = models.Filter(must=[models.HasIdCondition(has_id=[*points_of([item_id])])])
        part = {PAYLOAD_KEY: payload}
        await self._call(lambda: self._client.set_payload(self._gallery, part, points=there, wait=True))

    async def thumbnails(self, item_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the thumbnails of those ids that have one."""
        asked = points_of(item_ids)
        records = await self._call(lambda: self._client.retrieve(self._gallery, [*asked], with_payload=[THUMBNAIL_KEY]))
        return by_item({str(record.id): thumbnail_of(record.payload or {}) for record in records}, asked)

    async def delete(self, item_ids: Sequence[str]) -> None:
        """Delete the points of those ids; ids that do not exist are passed over."""
        if item_ids:  # the server refuses an empty list
            await self._delete(models.PointIdsList(points=[*points_of(item_ids)]))

    async def delete_matching(self, payload_filter: PayloadFilter) -> None:
        """Delete every point that the filter matches."""
        await self._delete(models.FilterSelector(filter=to_filter(payload_filter)))

    async def search(
        self,
        embedding: Embedding,
        *,
        limit: int,
        payload_filter: PayloadFilter | None = None,
        score_threshold: float | None = None,
        exact: bool = False,
        with_embeddings: bool = False,
    ) -> list[GalleryHit]:
        """Return at most `limit` nearest records by falling cosine similarity."""
        found = await self._call(
            lambda: self._client.query_points(
                self._gallery,
                query=embedding.tolist(),
                using=VECTOR_NAME,
                query_filter=to_filter(payload_filter),
                search_params=search_parameters(self._settings, exact=exact),
                limit=limit,
                with_payload=_WITHOUT_THUMBNAIL,
                with_vectors=with_embeddings,
                score_threshold=exclusive_threshold(score_threshold),
            )
        )
        return [
            GalleryHit(
                record=from_payload(hit.payload or {}),
                score=hit.score,
                embedding=embedding_of(hit) if with_embeddings else None,
            )
            for hit in found.points
        ]

    async def count(self, payload_filter: PayloadFilter | None = None) -> int:
        """Return the exact number of points (that the filter matches)."""
        result = await self._call(
            lambda: self._client.count(self._gallery, count_filter=to_filter(payload_filter), exact=True)
        )
        return result.count

    async def scroll(
        self, *, limit: int, cursor: str | None = None, payload_filter: PayloadFilter | None = None
    ) -> GalleryPage:
        """Return the next `limit` points, in the order of their point ids."""
        records, following = await self._call(
            lambda: self._client.scroll(
                self._gallery,
                scroll_filter=to_filter(payload_filter),
                limit=limit,
                offset=cursor,
                with_payload=_WITHOUT_THUMBNAIL,
                with_vectors=True,
            )
        )
        points = [from_record(record) for record in records]
        return GalleryPage(points=points, cursor=None if following is None else str(following))

    async def close(self) -> None:
        """Do nothing: the connections are the catalogue's."""

    async def _upsert(self, batch: Sequence[GalleryPoint]) -> None:
        await self._call(lambda: self._client.upsert(self._gallery, [to_struct(point) for point in batch], wait=True))

    async def _delete(self, selector: models.PointsSelector) -> None:
        await self._call(lambda: self._client.delete(self._gallery, selector, wait=True))

    async def _index_key(self, key: str, kind: models.PayloadSchemaType) -> None:
        await self._call(lambda: self._client.create_payload_index(self._gallery, key, kind, wait=True))

    async def _holds(self, space: EmbeddingSpace) -> bool:
        """Say whether the collection exists; raises where it does, with another space."""
        try:
            found = await self.space()
        except GalleryMissingError:
            return False
        space.require_same(found, here="the model bundle", there=f"the gallery {self._gallery!r}")
        return True

    async def _call(self, request: Callable[[], Awaitable[_Result]]) -> _Result:
        return await call_server(self._settings, request)
