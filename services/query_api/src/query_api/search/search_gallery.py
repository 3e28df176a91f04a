"""The use cases of the service: search with photographs, an embedding, or an image of the gallery."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar, TypeVarTuple

import numpy as np
from numpy.typing import NDArray

from aff_shared.bundles.bundle import ScoreLevels
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
from aff_shared.schemas.searching import HitOptions, SearchHit, SearchResponse, SearchTimings
from aff_shared.store.gallery_store import Embedding, GalleryHit
from aff_shared.web.observability import span
from query_api.embedding.photograph_embedder import Photograph, PhotographEmbedder
from query_api.search.active_model import ActiveModel, ModelSnapshot
from query_api.search.search_queue import SearchMetrics, SearchQueue
from query_api.search.vector_search import VectorSearch

_UNIT_TOLERANCE = 1e-2
_SMALLEST_MEAN = 1e-3

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")


class SearchGallery:
    """Embeds a query and searches the gallery with it.

    Every search may raise ServiceOverloadedError, and StoreError if the gallery is missing, of another embedding
    space, or cannot be searched.

    Args:
        gallery: Model and collection that searches use.
        embedder: Embeds photographs.
        finder: Searches the store.
        queue: Limits concurrent searches.
        metrics: Records stage times.
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

    async def search(self, photographs: Sequence[Photograph], options: HitOptions) -> SearchResponse:
        """Search with a photograph, or with the mean of several photographs of the same thing.

        Raises:
            ImageError: A photograph cannot be used.
            InvalidCropError: A crop is not inside its photograph.
            EmbeddingsCancelError: The mean of the embeddings is zero.
            EncoderError: The encoder failed on them.
            EncoderMissingError: The gallery was imported without a query encoder.
        """
        return await self._run(self._search, photographs, options)

    async def search_each(
        self, photographs: Sequence[Photograph], options: HitOptions
    ) -> list[SearchResponse | AffError]:
        """Search with each of several photographs; the result of an unusable photograph is its error.

        Raises:
            EncoderMissingError: The gallery was imported without a query encoder.
        """
        return await self._run(self._search_each, photographs, options)

    async def search_embedding(
        self, embedding: NDArray[np.floating], fingerprint: str, options: HitOptions
    ) -> SearchResponse:
        """Search with an embedding that the caller computed.

        Args:
            embedding: (D,), unit length.
            fingerprint: Fingerprint of the encoder that made it.
            options: Options of the search.

        Raises:
            EncoderMismatchError: The gallery is searched with another encoder now.
            InvalidEmbeddingError: The embedding has another dimension, or is not a unit vector.
        """
        return await self._run(self._search_embedding, embedding, fingerprint, options)

    async def search_similar(self, item_id: str, options: HitOptions) -> SearchResponse:
        """Search with an image of the gallery, which is not a hit itself.

        Raises:
            ImageNotFoundError: The gallery holds no such image.
        """
        return await self._run(self._search_similar, item_id, options)

    async def _run(
        self, search: Callable[[ModelSnapshot, *_Arguments], Awaitable[_Result]], *arguments: *_Arguments
    ) -> _Result:
        """Wait for a place in the queue, and search; again if the collection has been dropped in the meantime."""
        async with self._queue.place():
            try:
                return await search(await self._gallery.serving(), *arguments)
            except GalleryMissingError:  # the collection was dropped after a switch, or no gallery was created
                self._gallery.forget()
                return await search(await self._gallery.serving(), *arguments)

    async def _search(
        self, model: ModelSnapshot, photographs: Sequence[Photograph], options: HitOptions
    ) -> SearchResponse:
        embedded = await self._embedder.embed(photographs, model.require_graph())
        embedding = embedded.embeddings[0]
        if len(photographs) > 1:
            embedding = embedded.embeddings.mean(axis=0)
            norm = np.linalg.norm(embedding)
            if norm < _SMALLEST_MEAN:
                names = ", ".join(photograph.name for photograph in photographs)
                raise EmbeddingsCancelError("they have nothing in common: their embeddings cancel out", item=names)
            embedding = embedding / norm
        spent_ms = {"decode": embedded.decode_ms, "encode": embedded.encode_ms}
        return await self._found(model, embedding, options, spent_ms=spent_ms)

    async def _search_each(
        self, model: ModelSnapshot, photographs: Sequence[Photograph], options: HitOptions
    ) -> list[SearchResponse | AffError]:
        results: list[SearchResponse | AffError] = []
        for photograph in photographs:
            try:
                results.append(await self._search(model, [photograph], options))
            except (ImageError, InvalidCropError, EncoderError) as error:
                results.append(error)
        return results

    async def _search_embedding(
        self, model: ModelSnapshot, embedding: NDArray[np.floating], fingerprint: str, options: HitOptions
    ) -> SearchResponse:
        _require_usable(embedding, fingerprint, model)
        unit = (embedding / np.linalg.norm(embedding)).astype(np.float32)
        return await self._found(model, unit, options)

    async def _search_similar(self, model: ModelSnapshot, item_id: str, options: HitOptions) -> SearchResponse:
        point = (await model.store.fetch([item_id])).get(item_id)
        if point is None:
            raise ImageNotFoundError("the gallery holds no image of this id", item=item_id)
        return await self._found(model, point.embedding, options, excluded=point.record.item_id)

    async def _found(
        self,
        model: ModelSnapshot,
        embedding: Embedding,
        options: HitOptions,
        *,
        excluded: str | None = None,
        spent_ms: Mapping[str, float] | None = None,
    ) -> SearchResponse:
        began = time.perf_counter()
        with span("search the store"):
            hits = await self._finder.find(model.store, embedding, options, excluded=excluded)
        stages_ms = {**(spent_ms or {}), "search": 1000 * (time.perf_counter() - began)}
        self._metrics.observe(stages_ms, model.manifest.fingerprint)
        return SearchResponse(
            hits=[_hit(hit, model.manifest.score_levels) for hit in hits],
            timings_ms=SearchTimings(**{"decode": 0.0, "encode": 0.0, **stages_ms}),
            fingerprint=model.manifest.fingerprint,
            embedding=embedding.tolist() if options.with_embedding else None,
        )


def _hit(hit: GalleryHit, levels: ScoreLevels | None) -> SearchHit:
    record = hit.record
    return SearchHit(
        id=record.item_id,
        score=hit.score,
        strength=None if levels is None else levels.strength(hit.score),
        width=record.width,
        height=record.height,
        indexed_at=record.indexed_at,
        payload=record.payload,
    )


def _require_usable(embedding: NDArray[np.floating], fingerprint: str, model: ModelSnapshot) -> None:
    if fingerprint != model.manifest.fingerprint:
        raise EncoderMismatchError(
            f"it was made by the encoder {fingerprint[:12]}, the gallery is searched with "
            f"{model.manifest.fingerprint[:12]}: see GET /encoder",
            item="fingerprint",
        )
    dimension = model.manifest.space.dimension
    if len(embedding) != dimension:
        raise InvalidEmbeddingError(f"{len(embedding)} numbers; the gallery has {dimension}", item="embedding")
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(embedding))
    if not abs(length - 1.0) <= _UNIT_TOLERANCE:
        raise InvalidEmbeddingError(f"its length is {length:g}; it has to be 1", item="embedding")
