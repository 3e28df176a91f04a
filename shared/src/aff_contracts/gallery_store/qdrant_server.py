"""The gallery store on a Qdrant server (1.16 or later), through the official async client.

The gallery is an alias; a collection named after the embedding space stands behind it, with the space in its
metadata. No payload index is made: points are found by their ids, and which keys of their payloads callers
will filter on is theirs to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

import grpc
import numpy as np
from pydantic import ValidationError
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from aff_contracts.embedding_space import EmbeddingSpace
from aff_contracts.errors import GalleryMissingError, StoreError, StoreRejectedError, StoreUnavailableError
from aff_contracts.gallery_store.gallery_store import Embedding, GalleryHit, GalleryPage, GalleryPoint
from aff_contracts.gallery_store.layout import (
    SPACE_KEY,
    VECTOR_NAME,
    exclusive_threshold,
    filter_key,
    from_payload,
    point_id,
    to_payload,
)
from aff_contracts.gallery_store.retry import retry_unavailable
from aff_contracts.gallery_store.server_connection import client_arguments
from aff_contracts.gallery_store.server_errors import error_of_grpc_code, error_of_http_status
from aff_contracts.gallery_store.settings import StoreSettings
from aff_contracts.schemas.payload_filter import Condition, PayloadFilter

_Result = TypeVar("_Result")


class QdrantServerStore:
    """A gallery in a Qdrant server."""

    name = "qdrant_server"

    def __init__(self, settings: StoreSettings, client: AsyncQdrantClient | None = None) -> None:
        """Take the settings, and a client if not theirs; the network waits for the first call."""
        self._settings = settings
        self._gallery = settings.collection
        self._client = client or AsyncQdrantClient(**client_arguments(settings))

    async def create(self, space: EmbeddingSpace) -> None:
        """Create collection and alias, whichever is missing, for vectors of `space`.

        Several processes may create the same gallery at once, and one may finish what another began.
        """
        if not await self._holds(space, self._gallery):
            collection = f"{self._gallery}-{space.id[:12]}"
            await self._create_collection(collection, space)
            await self._create_alias(collection)
            await self._holds(space, self._gallery)

    async def space(self) -> EmbeddingSpace:
        """Return the space that is written in the gallery's metadata."""
        return await self._space_of(self._gallery)

    async def upsert(self, points: Sequence[GalleryPoint]) -> None:
        """Write points in batches; returns when the server has applied them."""
        size = self._settings.upsert_batch_size
        for start in range(0, len(points), size):
            await self._upsert(points[start : start + size])

    async def fetch(self, item_ids: Sequence[str]) -> dict[str, GalleryPoint]:
        """Return the points of those ids that exist, by item id."""
        ids = [point_id(item_id) for item_id in item_ids]
        records = await self._call(lambda: self._client.retrieve(self._gallery, ids, with_vectors=True))
        points = [_from_record(record) for record in records]
        return {point.record.item_id: point for point in points}

    async def delete(self, item_ids: Sequence[str]) -> None:
        """Delete the points of those ids; ids that do not exist are passed over."""
        if item_ids:  # the server refuses an empty list
            await self._delete(models.PointIdsList(points=[point_id(item_id) for item_id in item_ids]))

    async def delete_matching(self, payload_filter: PayloadFilter) -> None:
        """Delete every point that the filter matches."""
        await self._delete(models.FilterSelector(filter=_to_filter(payload_filter)))

    async def search(
        self,
        embedding: Embedding,
        *,
        limit: int,
        payload_filter: PayloadFilter | None = None,
        score_threshold: float | None = None,
        exact: bool = False,
    ) -> list[GalleryHit]:
        """Return at most `limit` nearest records by falling cosine similarity."""
        found = await self._call(
            lambda: self._client.query_points(
                self._gallery,
                query=embedding.tolist(),
                using=VECTOR_NAME,
                query_filter=_to_filter(payload_filter),
                search_params=models.SearchParams(exact=exact),
                limit=limit,
                score_threshold=exclusive_threshold(score_threshold),
            )
        )
        return [GalleryHit(record=from_payload(hit.payload or {}), score=hit.score) for hit in found.points]

    async def count(self, payload_filter: PayloadFilter | None = None) -> int:
        """Return the exact number of points (that the filter matches)."""
        result = await self._call(
            lambda: self._client.count(self._gallery, count_filter=_to_filter(payload_filter), exact=True)
        )
        return result.count

    async def scroll(
        self, *, limit: int, cursor: str | None = None, payload_filter: PayloadFilter | None = None
    ) -> GalleryPage:
        """Return the next `limit` points, in the order of their point ids."""
        records, following = await self._call(
            lambda: self._client.scroll(
                self._gallery,
                scroll_filter=_to_filter(payload_filter),
                limit=limit,
                offset=cursor,
                with_vectors=True,
            )
        )
        points = [_from_record(record) for record in records]
        return GalleryPage(points=points, cursor=None if following is None else str(following))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _upsert(self, batch: Sequence[GalleryPoint]) -> None:
        await self._call(lambda: self._client.upsert(self._gallery, [_to_struct(point) for point in batch], wait=True))

    async def _delete(self, selector: models.PointsSelector) -> None:
        await self._call(lambda: self._client.delete(self._gallery, selector, wait=True))

    async def _holds(self, space: EmbeddingSpace, name: str) -> bool:
        """Say whether a collection or alias exists; raises where it does, with another space."""
        try:
            found = await self._space_of(name)
        except GalleryMissingError:
            return False
        space.require_same(found, here="the model bundle", there=f"the gallery {name!r}")
        return True

    async def _space_of(self, name: str) -> EmbeddingSpace:
        info = await self._call(lambda: self._client.get_collection(name))
        try:
            return EmbeddingSpace.model_validate((info.config.metadata or {}).get(SPACE_KEY))
        except ValidationError as error:
            raise StoreRejectedError(
                f"the collection {name!r} has no embedding space in its metadata, so it is not a gallery of "
                f"this system; set QDRANT_COLLECTION to another name"
            ) from error

    async def _create_collection(self, collection: str, space: EmbeddingSpace) -> None:
        vector = models.VectorParams(size=space.dimension, distance=models.Distance.COSINE)
        threshold = self._settings.indexing_threshold_kb
        try:
            await self._call(
                lambda: self._client.create_collection(
                    collection,
                    vectors_config={VECTOR_NAME: vector},
                    optimizers_config=models.OptimizersConfigDiff(indexing_threshold=threshold),
                    on_disk_payload=True,
                    metadata={SPACE_KEY: space.model_dump()},
                )
            )
        except StoreRejectedError:
            # It may be there: half of an earlier creation, another process's, or a timed-out attempt's.
            if not await self._holds(space, collection):
                raise

    async def _create_alias(self, collection: str) -> None:
        alias = models.CreateAlias(collection_name=collection, alias_name=self._gallery)
        operation = models.CreateAliasOperation(create_alias=alias)
        await self._call(lambda: self._client.update_collection_aliases([operation]))

    async def _call(self, request: Callable[[], Awaitable[_Result]]) -> _Result:
        """Await a request, all of which may be repeated; foreign exceptions end here."""

        async def attempt() -> _Result:
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    return await request()
            except Exception as error:
                raise _translated(error) from error

        return await retry_unavailable(
            attempt, max_retries=self._settings.max_retries, backoff_s=self._settings.retry_backoff_s
        )


def _translated(error: Exception) -> StoreError:
    kind: type[StoreError] = StoreError
    if isinstance(error, grpc.aio.AioRpcError):
        kind = error_of_grpc_code(error.code())
    elif isinstance(error, UnexpectedResponse):
        kind = error_of_http_status(error.status_code)
    elif isinstance(error, ApiException | QdrantException | OSError):  # undelivered, throttled, timed out
        kind = StoreUnavailableError
    elif isinstance(error, ValueError | TypeError):  # the client refuses to send it
        kind = StoreRejectedError
    detail = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
    return kind(f"Qdrant server: {detail or type(error).__name__}")


def _to_struct(point: GalleryPoint) -> models.PointStruct:
    vector: dict[str, Any] = {VECTOR_NAME: point.embedding.tolist()}
    return models.PointStruct(id=point_id(point.record.item_id), vector=vector, payload=to_payload(point.record))


def _from_record(record: models.Record) -> GalleryPoint:
    vectors = cast("dict[str, list[float]]", record.vector)
    embedding = np.asarray(vectors[VECTOR_NAME], dtype=np.float32)
    return GalleryPoint(record=from_payload(record.payload or {}), embedding=embedding)


def _to_filter(payload_filter: PayloadFilter | None) -> models.Filter | None:
    if payload_filter is None:
        return None
    return models.Filter(
        must=[_to_condition(condition) for condition in payload_filter.must] or None,
        should=[_to_condition(condition) for condition in payload_filter.should] or None,
        must_not=[_to_condition(condition) for condition in payload_filter.must_not] or None,
    )


def _to_condition(condition: Condition) -> models.FieldCondition:
    key = filter_key(condition.key)
    if condition.range is not None:
        return models.FieldCondition(key=key, range=models.Range(**condition.range.model_dump()))
    if condition.any_of is not None:
        return models.FieldCondition(key=key, match=models.MatchAny(any=cast("list[str]", condition.any_of)))
    assert condition.match is not None, "a condition has exactly one test"
    return models.FieldCondition(key=key, match=models.MatchValue(value=condition.match))
