"""The use case of the service: a photograph in, the gallery's nearest images out."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aff_contracts.errors import EncoderError, GalleryMissingError
from aff_contracts.gallery_store.gallery_store import Embedding
from aff_contracts.image_decoding import Crop, ImageLimits, decode_image
from aff_contracts.schemas.payload_filter import PayloadFilter
from aff_contracts.schemas.searching import SearchHit, SearchResponse, SearchTimings
from query_api.live_gallery import LiveGallery, Serving
from query_api.query_encoder import QueryEncoder
from query_api.search_metrics import SearchMetrics


@dataclass(frozen=True, slots=True)
class Query:
    """A photograph to search with, and what is wanted.

    Attributes:
        data: The encoded image file.
        name: Of the photograph, for errors.
        limit: Most hits, at least 1.
        crop: Only this region of the photograph.
        payload_filter: Only gallery images that it matches.
        score_threshold: Only gallery images of at least this cosine similarity.
    """

    data: bytes
    name: str
    limit: int
    crop: Crop | None = None
    payload_filter: PayloadFilter | None = None
    score_threshold: float | None = None


class SearchGallery:
    """Decodes and encodes in threads, off the event loop, then searches the store once.

    Args:
        gallery: Tells the model and the collection.
        limits: What a photograph may be.
        metrics: Learns how long the stages take.
        threads: Photographs that are decoded and encoded at the same time.
    """

    def __init__(
        self,
        gallery: LiveGallery,
        limits: ImageLimits,
        metrics: SearchMetrics,
        *,
        threads: int,
    ) -> None:
        self._gallery = gallery
        self._limits = limits
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="encode")

    async def search(self, query: Query) -> SearchResponse:
        """Search the gallery.

        Raises:
            ImageError: The photograph cannot be used.
            InvalidCropError: The crop is not inside the photograph.
            EncoderError: The encoder failed on the photograph.
            StoreError: The gallery is missing, of another space, or cannot be searched.
        """
        try:
            return await self._search(query, await self._gallery.serving())
        except GalleryMissingError:  # the collection was dropped after a switch, or there never was one
            self._gallery.forget()
            return await self._search(query, await self._gallery.serving())

    async def _search(self, query: Query, serving: Serving) -> SearchResponse:
        run = asyncio.get_running_loop().run_in_executor
        embedding, decode_ms, encode_ms = await run(self._threads, self._embed, query, serving.encoder)
        start = time.perf_counter()
        hits = await serving.store.search(
            embedding,
            limit=query.limit,
            payload_filter=query.payload_filter,
            score_threshold=query.score_threshold,
        )
        timings = SearchTimings(decode=decode_ms, encode=encode_ms, search=_milliseconds_since(start))
        self._metrics.observe(timings)
        return SearchResponse(
            hits=[SearchHit(id=hit.record.item_id, score=hit.score, payload=hit.record.payload) for hit in hits],
            timings_ms=timings,
            fingerprint=serving.manifest.fingerprint,
        )

    def close(self) -> None:
        """End the threads; what waits for them is cancelled."""
        self._threads.shutdown(cancel_futures=True)

    def _embed(self, query: Query, encoder: QueryEncoder) -> tuple[Embedding, float, float]:
        start = time.perf_counter()
        min_side = encoder.decode_min_side
        decoded = decode_image(query.data, self._limits, min_side=min_side, crop=query.crop, name=query.name)
        decode_ms = _milliseconds_since(start)
        start = time.perf_counter()
        try:
            (embedding,) = encoder.encode([decoded.pixels])
        except EncoderError as error:
            error.item = query.name
            raise
        return embedding, decode_ms, _milliseconds_since(start)


def _milliseconds_since(start: float) -> float:
    return 1000 * (time.perf_counter() - start)
