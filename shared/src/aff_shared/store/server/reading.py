"""Reading one collection of a Qdrant server (1.16 or later), through the official async client."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar, Unpack

from qdrant_client import models

from aff_shared.schemas.browsing import GalleryOrder
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.payload_filter import PayloadFilter, Scalar
from aff_shared.store.gallery_store import (
    Embedding,
    GalleryHit,
    GalleryPage,
    GalleryPoint,
    GalleryRecord,
    NearestQuery,
    RecordPage,
)
from aff_shared.store.layout import (
    THUMBNAIL_KEY,
    VECTOR_NAME,
    by_item,
    exclusive_threshold,
    filter_key,
    from_payload,
    points_of,
    thumbnail_of,
)
from aff_shared.store.record_paging import RecordScroll, read_page
from aff_shared.store.server.conversion import (
    WITHOUT_THUMBNAIL,
    from_record,
    required_space_of,
    scroll_arguments,
    search_parameters,
    to_filter,
    to_hit,
)
from aff_shared.store.server.limits import CollectionLimits, in_parts, limits_of
from aff_shared.store.server.nodes import Request, ServerNodes

_Result = TypeVar("_Result")

_logger = logging.getLogger(__name__)


class ServerCollection:
    """A collection that is read.

    Args:
        nodes: The server, and the settings; the caller closes it.
        collection: Name of the collection.
    """

    name = "qdrant_server"

    def __init__(self, nodes: ServerNodes, collection: str) -> None:
        self._nodes = nodes
        self._settings = nodes.settings
        self._gallery = collection
        self._known_limits: CollectionLimits | None = None
        self._in_parts = partial(in_parts, wait_s=nodes.settings.rate_limit_wait_s)

    def address(self, collection: str) -> None:
        """Use the collection of this name from now on, which replaced the former one."""
        if collection != self._gallery:
            self._gallery, self._known_limits = collection, None

    async def space(self) -> EmbeddingSpace:
        """Return the space that is written in the collection's metadata."""
        return required_space_of(await self.info(), self._gallery)

    async def info(self) -> models.CollectionInfo:
        """Return the server's description of the collection, and apply its limits from now on."""
        info = await self._nodes.administer(lambda client: client.get_collection(self._gallery), reads=True)
        limits = limits_of(info.config.strict_mode_config, self._settings)
        if limits != self._known_limits and (lower := limits.changes(limits_of(None, self._settings))):
            _logger.warning("strict mode of the collection %s: %s", self._gallery, lower)
        self._known_limits = limits
        return info

    async def fetch(self, item_ids: Sequence[str]) -> dict[str, GalleryPoint]:
        """Return the points of those ids that exist, by item id."""
        requested = points_of(item_ids)
        records = await self._retrieve([*requested], with_payload=WITHOUT_THUMBNAIL, with_vectors=True)
        return by_item({str(record.id): from_record(record) for record in records}, requested)

    async def thumbnails(self, item_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the thumbnails of those ids that have one."""
        requested = points_of(item_ids)
        records = await self._retrieve([*requested], with_payload=[THUMBNAIL_KEY])
        return by_item({str(record.id): thumbnail_of(record.payload or {}) for record in records}, requested)

    async def search(self, embedding: Embedding, **query: Unpack[NearestQuery]) -> list[GalleryHit]:
        """Return the nearest records by descending cosine similarity."""
        parameters = search_parameters(self._settings, await self._limits(), exact=query.get("exact", False))
        with_embeddings = query.get("with_embeddings", False)
        found = await self._read(
            lambda client: client.query_points(
                self._gallery,
                query=embedding.tolist(),
                using=VECTOR_NAME,
                query_filter=to_filter(query.get("payload_filter")),
                search_params=parameters,
                limit=query["limit"],
                with_payload=WITHOUT_THUMBNAIL,
                with_vectors=with_embeddings,
                score_threshold=exclusive_threshold(query.get("score_threshold")),
            )
        )
        return [to_hit(point, with_embedding=with_embeddings) for point in found.points]

    async def most_hits(self) -> int | None:
        """Return the maximum of a search's `limit`; None for no maximum."""
        return (await self._limits()).query_limit

    async def count(self, payload_filter: PayloadFilter | None = None) -> int:
        """Return the exact number of points (that the filter matches)."""
        result = await self._read(
            lambda client: client.count(self._gallery, count_filter=to_filter(payload_filter), exact=True)
        )
        return result.count

    async def scroll(
        self, *, limit: int, cursor: str | None = None, payload_filter: PayloadFilter | None = None
    ) -> GalleryPage:
        """Return the next `limit` points, in the order of their point ids."""
        page_size = (await self._limits()).query_limit or limit
        points: list[GalleryPoint] = []
        while True:
            remaining = min(page_size, limit - len(points))
            records, cursor = await self._page(remaining, cursor, payload_filter)
            points += [from_record(record) for record in records]
            if cursor is None or len(points) >= limit:
                return GalleryPage(points=points, cursor=cursor)

    async def records(
        self,
        *,
        limit: int,
        order: GalleryOrder,
        cursor: str | None = None,
        payload_filter: PayloadFilter | None = None,
    ) -> RecordPage:
        """Return the next records, at most one less than the limit of a query."""

        async def read(scroll: RecordScroll) -> list[GalleryRecord]:
            arguments = scroll_arguments(scroll, payload_filter)
            records, _ = await self._read(lambda client: client.scroll(self._gallery, **arguments))
            return [from_payload(record.payload or {}) for record in records]

        most = (await self._limits()).query_limit
        limit = limit if most is None else max(1, min(limit, most - 1))
        return await read_page(read, limit=limit, order=order, cursor=cursor)

    async def facet(
        self, payload_key: str, *, limit: int, payload_filter: PayloadFilter | None = None
    ) -> list[tuple[Scalar, int]]:
        """Return the most frequent values of a declared key; counts without a filter are those of the index."""
        chosen = to_filter(payload_filter)
        found = await self._read(
            lambda client: client.facet(
                self._gallery, filter_key(payload_key), chosen, limit, exact=payload_filter is not None
            )
        )
        return [(hit.value, hit.count) for hit in found.hits]

    async def close(self) -> None:
        """Do nothing: the connections are the catalogue's."""

    async def _limits(self) -> CollectionLimits:
        if self._known_limits is None:
            await self.info()
        assert self._known_limits is not None, "reading the collection sets them"
        return self._known_limits

    async def _retrieve(self, points: Sequence[str], **what: Any) -> list[models.Record]:
        """Return the points of these ids that exist, with the parts that are named."""
        records: list[models.Record] = []

        async def retrieve(part: Sequence[str]) -> None:
            records.extend(await self._read(lambda client: client.retrieve(self._gallery, part, **what)))

        await self._in_parts(retrieve, points, len(points))
        return records

    async def _page(
        self, limit: int, offset: str | None, payload_filter: PayloadFilter | None
    ) -> tuple[list[models.Record], str | None]:
        records, following = await self._read(
            lambda client: client.scroll(
                self._gallery,
                scroll_filter=to_filter(payload_filter),
                limit=limit,
                offset=offset,
                with_payload=WITHOUT_THUMBNAIL,
                with_vectors=True,
            )
        )
        return records, None if following is None else str(following)

    async def _read(self, request: Request[_Result]) -> _Result:
        return await self._nodes.call(request, reads=True)
