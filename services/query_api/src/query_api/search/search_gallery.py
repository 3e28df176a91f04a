"""The use cases of the service: a photograph, an embedding or a gallery image in, the nearest gallery images out."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aff_shared.errors import (
    AffError,
    EmbeddingsCancelError,
    EncoderError,
    EncoderMismatchError,
    GalleryMissingError,
    ImageError,
    ImageNotFoundError,
    InvalidCropError,
    InvalidEmbeddingError,
)
from aff_shared.schemas.searching import SearchHit, SearchResponse, SearchTimings
from aff_shared.store.gallery_store import Embedding
from aff_shared.web.observability import span
from query_api.embedding.photograph_embedder import Photograph, PhotographEmbedder
from query_api.search.active_model import ActiveModel, ModelSnapshot
from query_api.search.search_metrics import SearchMetrics
from query_api.search.search_query import SearchQuery
from query_api.search.search_queue import SearchQueue
from query_api.search.vector_search import VectorSearch

_UNIT_TOLERANCE = 1e-2
_SMALLEST_MEAN = 1e-3

_Result = TypeVar("_Result")


class SearchGallery:
    """Makes a query's embedding, and searches the store with it.

    Every search may raise ServiceOverloadedError, and StoreError where the gallery is missing, of another space, or
    cannot be searched.

    Args:
        gallery: Tells the model and the collection.
        embedder: Embeds photographs.
        finder: Searches.
        queue: Admits searches.
        metrics: Learns how long the stages take.
    """

    def __init__(
        self,
        gallery: ActiveModel,
        embedder: PhotographEmbedder,
        finder: VectorSearch,
        queue: SearchQueue,
        metrics: SearchMetrics,
    ) -> None:
        self._gallery = gallery
        self._embedder = embedder
        self._finder = finder
        self._queue = queue
        self._metrics = metrics

    async def search(self, photographs: Sequence[Photograph], wanted: SearchQuery) -> SearchResponse:
        """Search with a photograph, or with the mean of several of the same thing.

        Raises:
            ImageError: A photograph cannot be used.
            InvalidCropError: A crop is not inside its photograph.
            EmbeddingsCancelError: The photographs have no mean to search with.
            EncoderError: The encoder failed on them.
        """
        return await self._admitted(lambda serving: self._search(photographs, wanted, serving))

    async def search_each(
        self, photographs: Sequence[Photograph], wanted: SearchQuery
    ) -> list[SearchResponse | AffError]:
        """Search with each of several photographs; one that cannot be used gives its error in its place."""

        async def each(serving: ModelSnapshot) -> list[SearchResponse | AffError]:
            return [await self._search_or_error(photograph, wanted, serving) for photograph in photographs]

        return await self._admitted(each)

    async def search_embedding(
        self, embedding: NDArray[np.floating], fingerprint: str, wanted: SearchQuery
    ) -> SearchResponse:
        """Search with an embedding that was made elsewhere.

        Args:
            embedding: (D,), unit length.
            fingerprint: Of the encoder that made it.
            wanted: Which hits.

        Raises:
            EncoderMismatchError: The gallery is searched with another encoder now.
            InvalidEmbeddingError: Of another width, or no unit vector.
        """

        async def search(serving: ModelSnapshot) -> SearchResponse:
            _require_usable(embedding, fingerprint, serving)
            unit = (embedding / np.linalg.norm(embedding)).astype(np.float32)
            return await self._found(serving, unit, wanted)

        return await self._admitted(search)

    async def search_similar(self, item_id: str, wanted: SearchQuery) -> SearchResponse:
        """Search with an image of the gallery, which is no hit itself.

        Raises:
            ImageNotFoundError: The gallery holds no such image.
        """

        async def search(serving: ModelSnapshot) -> SearchResponse:
            point = (await serving.store.fetch([item_id])).get(item_id)
            if point is None:
                raise ImageNotFoundError("the gallery holds no image of this id", item=item_id)
            return await self._found(serving, point.embedding, wanted, excluded=point.record.item_id)

        return await self._admitted(search)

    async def _admitted(self, search: Callable[[ModelSnapshot], Awaitable[_Result]]) -> _Result:
        async with self._queue.place():
            try:
                return await search(await self._gallery.serving())
            except GalleryMissingError:  # the collection was dropped after a switch, or there never was one
                self._gallery.forget()
                return await search(await self._gallery.serving())

    async def _search(
        self, photographs: Sequence[Photograph], wanted: SearchQuery, serving: ModelSnapshot
    ) -> SearchResponse:
        embedded = await self._embedder.embed(photographs, serving.graph)
        embedding = embedded.embeddings[0]
        if len(photographs) > 1:
            embedding = embedded.embeddings.mean(axis=0)
            norm = np.linalg.norm(embedding)
            if norm < _SMALLEST_MEAN:
                names = ", ".join(photograph.name for photograph in photographs)
                raise EmbeddingsCancelError("they have nothing in common: their embeddings cancel out", item=names)
            embedding = embedding / norm
        spent_ms = {"decode": embedded.decode_ms, "encode": embedded.encode_ms}
        return await self._found(serving, embedding, wanted, spent_ms=spent_ms)

    async def _search_or_error(
        self, photograph: Photograph, wanted: SearchQuery, serving: ModelSnapshot
    ) -> SearchResponse | AffError:
        try:
            return await self._search([photograph], wanted, serving)
        except (ImageError, InvalidCropError, EncoderError) as error:
            return error

    async def _found(
        self,
        serving: ModelSnapshot,
        embedding: Embedding,
        wanted: SearchQuery,
        *,
        excluded: str | None = None,
        spent_ms: Mapping[str, float] | None = None,
    ) -> SearchResponse:
        began = time.perf_counter()
        with span("search the store"):
            hits = await self._finder.find(serving.store, embedding, wanted, excluded=excluded)
        stages_ms = {**(spent_ms or {}), "search": 1000 * (time.perf_counter() - began)}
        self._metrics.observe(stages_ms, serving.manifest.fingerprint)
        return SearchResponse(
            hits=[SearchHit(id=hit.record.item_id, score=hit.score, payload=hit.record.payload) for hit in hits],
            timings_ms=SearchTimings(**{"decode": 0.0, "encode": 0.0, **stages_ms}),
            fingerprint=serving.manifest.fingerprint,
            embedding=embedding.tolist() if wanted.with_embedding else None,
        )


def _require_usable(embedding: NDArray[np.floating], fingerprint: str, serving: ModelSnapshot) -> None:
    if fingerprint != serving.manifest.fingerprint:
        raise EncoderMismatchError(
            f"it was made by the encoder {fingerprint[:12]}, the gallery is searched with "
            f"{serving.manifest.fingerprint[:12]}: see GET /encoder",
            item="fingerprint",
        )
    dimension = serving.manifest.space.dimension
    if len(embedding) != dimension:
        raise InvalidEmbeddingError(f"{len(embedding)} numbers; the gallery has {dimension}", item="embedding")
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(embedding))
    if not abs(length - 1.0) <= _UNIT_TOLERANCE:
        raise InvalidEmbeddingError(f"its length is {length:g}; it has to be 1", item="embedding")
