"""The Protocol of the gallery store, and its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, Required, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from aff_shared.schemas.browsing import GalleryOrder
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import GalleryImage, JsonObject
from aff_shared.schemas.payload_filter import PayloadFilter, Scalar

Embedding = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GalleryRecord:
    """Data that the gallery stores for an image in addition to its embedding.

    Attributes:
        item_id: Id from the caller, or the content's sha256.
        content_sha256: Hex digest of the encoded image file.
        width: Pixels of the upright photograph.
        height: Pixels of the upright photograph.
        indexed_at: When the image was embedded last; UTC.
        payload: JSON object from the caller.
        extractors: Names of the extractors that found something in the image; None if it was indexed by a release
            that did not store them.
    """

    item_id: str
    content_sha256: str
    width: int
    height: int
    indexed_at: datetime
    payload: JsonObject = field(default_factory=dict)
    extractors: tuple[str, ...] | None = None

    def described(self) -> GalleryImage:
        """Return the record as the API's schema."""
        return GalleryImage(
            id=self.item_id,
            content_sha256=self.content_sha256,
            width=self.width,
            height=self.height,
            indexed_at=self.indexed_at,
            extractors=self.extractors,
            payload=self.payload,
        )


@dataclass(frozen=True, slots=True)
class GalleryPoint:
    """A record with its embedding.

    Attributes:
        record: Record of the image.
        embedding: (D,) float32, unit length.
        thumbnail: Small WebP file that is written with the point; None without one, and for points that were read.
    """

    record: GalleryRecord
    embedding: Embedding
    thumbnail: bytes | None = None


@dataclass(frozen=True, slots=True)
class GalleryHit:
    """A record found by a search.

    Attributes:
        record: Record of the image.
        score: Cosine similarity.
        embedding: (D,) float32, unit length; None if it was not requested.
    """

    record: GalleryRecord
    score: float
    embedding: Embedding | None = None


@dataclass(frozen=True, slots=True)
class GalleryPage:
    """A part of a scroll; `cursor` continues it, None means that it was the last."""

    points: list[GalleryPoint]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A part of the gallery's records; `cursor` continues it, None means that it was the last."""

    records: list[GalleryRecord]
    cursor: str | None


class NearestQuery(TypedDict, total=False):
    """Keyword arguments of `GalleryStore.search`.

    Attributes:
        limit: Maximum number of hits, at least 1.
        payload_filter: Return only records that it matches.
        score_threshold: Return only records of at least this cosine similarity.
        exact: Compare with every point instead of searching the HNSW graph.
        with_embeddings: Also return the embeddings of the hits.
    """

    limit: Required[int]
    payload_filter: PayloadFilter | None
    score_threshold: float | None
    exact: bool
    with_embeddings: bool


class GalleryStore(Protocol):
    """Where gallery embeddings live.

    Every method may raise StoreUnavailableError (cannot be reached, or too slow) and StoreRejectedError
    (rejected); all but `create`, `space` and `close` raise GalleryMissingError before a gallery was created.
    Changes of a completed `upsert` or delete are durable and visible to the next call. Item ids that differ only in
    Unicode normalisation (NFC, NFD) identify one item; results have the id that was requested.
    """

    @property
    def name(self) -> str:
        """Adapter's name: `qdrant_edge` or `qdrant_server`."""
        ...

    async def create(self, space: EmbeddingSpace) -> None:
        """Create the gallery for vectors of `space`; does nothing if it exists already.

        Raises:
            EmbeddingSpaceMismatchError: A gallery of another space is there; it is left untouched.
        """
        ...

    async def space(self) -> EmbeddingSpace:
        """Return the space that is written in the gallery.

        Raises:
            GalleryMissingError: No gallery has been created.
        """
        ...

    async def index_payload(self) -> None:
        """Create the payload indexes that the settings declare, if they are missing."""
        ...

    async def upsert(self, points: Sequence[GalleryPoint]) -> None:
        """Write points; a point of the same item id is replaced whole, whatever normalisation it was written in."""
        ...

    async def fetch(self, item_ids: Sequence[str]) -> dict[str, GalleryPoint]:
        """Return the points of those ids that exist, by item id."""
        ...

    async def set_payload(self, item_id: str, payload: JsonObject) -> None:
        """Replace the caller's payload of a point, and nothing else; an id that does not exist is passed over."""
        ...

    async def thumbnails(self, item_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the thumbnails of those ids that have one; no other call reads them."""
        ...

    async def delete(self, item_ids: Sequence[str]) -> None:
        """Delete the points of those ids; ids that do not exist are passed over."""
        ...

    async def delete_matching(self, payload_filter: PayloadFilter) -> None:
        """Delete every point that the filter matches."""
        ...

    async def search(self, embedding: Embedding, **query: Unpack[NearestQuery]) -> list[GalleryHit]:
        """Return at most `limit` nearest records by falling cosine similarity.

        Args:
            embedding: (D,) float32, unit length, of the gallery's space.
            query: Keyword arguments, see NearestQuery.
        """
        ...

    async def most_hits(self) -> int | None:
        """Return the maximum of a search's `limit`; None for no maximum."""
        ...

    async def count(self, payload_filter: PayloadFilter | None = None) -> int:
        """Return the exact number of points (that the filter matches)."""
        ...

    async def scroll(
        self, *, limit: int, cursor: str | None = None, payload_filter: PayloadFilter | None = None
    ) -> GalleryPage:
        """Return the next `limit` points in the order of their point ids (`layout.point_id`), from `cursor` on."""
        ...

    async def records(
        self,
        *,
        limit: int,
        order: GalleryOrder,
        cursor: str | None = None,
        payload_filter: PayloadFilter | None = None,
    ) -> RecordPage:
        """Return the next `limit` records, or fewer, from `cursor` on.

        While images are added and deleted, pages contain every record that remains exactly once. Images of the same
        time are in the order of their point ids, and so are all with `order="id"`.

        Raises:
            InvalidParameterError: The cursor is malformed, or one of another order.
        """
        ...

    async def facet(
        self, payload_key: str, *, limit: int, payload_filter: PayloadFilter | None = None
    ) -> list[tuple[Scalar, int]]:
        """Return the most frequent values of a declared key, with the number of points that have each.

        The most frequent value is the first. The key's type is `keyword`, `integer` or `bool`.
        """
        ...

    async def close(self) -> None:
        """Release connections, files and threads; the store is not used afterwards."""
        ...
