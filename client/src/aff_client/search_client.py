"""The query service, from Python: `SearchClient`, and `AsyncSearchClient` for an event loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

from aff_client import search_calls as calls
from aff_client.service_client import AsyncServiceClient, ServiceClient
from aff_shared.schemas.browsing import GalleryImages, GalleryOrder
from aff_shared.schemas.indexing import GalleryImage
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.schemas.searching import (
    BatchResponse,
    EncoderDescription,
    EncoderFile,
    HitArguments,
    PhotographArguments,
    SearchResponse,
)


class SearchClient(ServiceClient):
    """Client of the query service."""

    def search(
        self, data: bytes, *further: bytes, name: str = "image", **arguments: Unpack[PhotographArguments]
    ) -> SearchResponse:
        """Search with an encoded image, or with the mean of several of the same thing.

        Args:
            data: The image file.
            further: Image files of the same thing.
            name: Name of the image, for errors.
            arguments: See PhotographArguments.

        Raises:
            ServiceError: The request was rejected.
            ServiceUnreachableError: The service does not respond.
        """
        photographs = [(name, data), *((name, one) for one in further)]
        return self._send(calls.search(photographs, arguments))

    def search_batch(
        self, photographs: Sequence[tuple[str, bytes]], **arguments: Unpack[PhotographArguments]
    ) -> BatchResponse:
        """Search with each of several (name, file) images; the result of an unusable image is its error."""
        return self._send(calls.search_batch(photographs, arguments))

    def search_embedding(
        self, embedding: Iterable[float], fingerprint: str, **arguments: Unpack[HitArguments]
    ) -> SearchResponse:
        """Search with (D,) numbers of unit length that the encoder of a fingerprint made; errors as `search`."""
        return self._send(calls.search_embedding(embedding, fingerprint, arguments))

    def search_similar(self, item_id: str, **arguments: Unpack[HitArguments]) -> SearchResponse:
        """Find images similar to an image of the gallery; errors as `search`."""
        return self._send(calls.search_similar(item_id, arguments))

    def encoder(self) -> EncoderDescription:
        """Return the description of the query encoder; errors as `search`."""
        return self._send(calls.encoder())

    def encoder_model(self, file: EncoderFile) -> bytes:
        """Return a graph of the query encoder, in ONNX; errors as `search`."""
        return self._send(calls.encoder_model(file.url))

    def image(self, item_id: str) -> GalleryImage:
        """Return what the gallery stores about an image; errors as `search`."""
        return self._send(calls.image(item_id))

    def thumbnail(self, item_id: str) -> bytes:
        """Return the thumbnail of an image, a WebP file; errors as `search`."""
        return self._send(calls.thumbnail(item_id))

    def images(
        self,
        *,
        limit: int = 60,
        order: GalleryOrder = "newest",
        filter: PayloadFilter | Mapping[str, Any] | str | None = None,  # noqa: A002 - as the API's
        cursor: str | None = None,
    ) -> GalleryImages:
        """Return a page of the gallery; `next_cursor` of a page is the cursor of the next one; errors as `search`."""
        return self._send(calls.images(limit, order, filter, cursor))


class AsyncSearchClient(AsyncServiceClient):
    """Client of the query service for an event loop."""

    async def search(
        self, data: bytes, *further: bytes, name: str = "image", **arguments: Unpack[PhotographArguments]
    ) -> SearchResponse:
        """Search with an encoded image, or with the mean of several of the same thing.

        Args:
            data: The image file.
            further: Image files of the same thing.
            name: Name of the image, for errors.
            arguments: See PhotographArguments.

        Raises:
            ServiceError: The request was rejected.
            ServiceUnreachableError: The service does not respond.
        """
        photographs = [(name, data), *((name, one) for one in further)]
        return await self._send(calls.search(photographs, arguments))

    async def search_batch(
        self, photographs: Sequence[tuple[str, bytes]], **arguments: Unpack[PhotographArguments]
    ) -> BatchResponse:
        """Search with each of several (name, file) images; the result of an unusable image is its error."""
        return await self._send(calls.search_batch(photographs, arguments))

    async def search_embedding(
        self, embedding: Iterable[float], fingerprint: str, **arguments: Unpack[HitArguments]
    ) -> SearchResponse:
        """Search with (D,) numbers of unit length that the encoder of a fingerprint made; errors as `search`."""
        return await self._send(calls.search_embedding(embedding, fingerprint, arguments))

    async def search_similar(self, item_id: str, **arguments: Unpack[HitArguments]) -> SearchResponse:
        """Find images similar to an image of the gallery; errors as `search`."""
        return await self._send(calls.search_similar(item_id, arguments))

    async def encoder(self) -> EncoderDescription:
        """Return the description of the query encoder; errors as `search`."""
        return await self._send(calls.encoder())

    async def encoder_model(self, file: EncoderFile) -> bytes:
        """Return a graph of the query encoder, in ONNX; errors as `search`."""
        return await self._send(calls.encoder_model(file.url))

    async def image(self, item_id: str) -> GalleryImage:
        """Return what the gallery stores about an image; errors as `search`."""
        return await self._send(calls.image(item_id))

    async def thumbnail(self, item_id: str) -> bytes:
        """Return the thumbnail of an image, a WebP file; errors as `search`."""
        return await self._send(calls.thumbnail(item_id))

    async def images(
        self,
        *,
        limit: int = 60,
        order: GalleryOrder = "newest",
        filter: PayloadFilter | Mapping[str, Any] | str | None = None,  # noqa: A002 - as the API's
        cursor: str | None = None,
    ) -> GalleryImages:
        """Return a page of the gallery; `next_cursor` of a page is the cursor of the next one; errors as `search`."""
        return await self._send(calls.images(limit, order, filter, cursor))
