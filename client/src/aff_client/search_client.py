"""The query service, from Python: `SearchClient`, and `AsyncSearchClient` for an event loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from aff_client import search_calls as calls
from aff_client.answers import (
    DIRECT,
    DISCONNECTED,
    call_headers,
    key_header,
    raise_unreachable,
    read_answer,
    service_url,
)
from aff_client.search_calls import Call
from aff_client.service_client import ServiceClient
from aff_shared.schemas.indexing import GalleryImage
from aff_shared.schemas.searching import (
    BatchResponse,
    EncoderDescription,
    EncoderFile,
    HitArguments,
    PhotographArguments,
    SearchResponse,
)

_Answer = TypeVar("_Answer")


class SearchClient(ServiceClient):
    """Client of the query service."""

    def __init__(self, url: str, timeout_s: float = 30.0, key: str | None = None) -> None:
        super().__init__(url, timeout_s, key)

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
        return self._ask(calls.search(photographs, arguments))

    def search_batch(
        self, photographs: Sequence[tuple[str, bytes]], **arguments: Unpack[PhotographArguments]
    ) -> BatchResponse:
        """Search with each of several (name, file) images; the result of an unusable image is its error."""
        return self._ask(calls.search_batch(photographs, arguments))

    def search_embedding(
        self, embedding: Iterable[float], fingerprint: str, **arguments: Unpack[HitArguments]
    ) -> SearchResponse:
        """Search with (D,) numbers of unit length that the encoder of a fingerprint made; errors as `search`."""
        return self._ask(calls.search_embedding(embedding, fingerprint, arguments))

    def search_similar(self, item_id: str, **arguments: Unpack[HitArguments]) -> SearchResponse:
        """Find images similar to an image of the gallery; errors as `search`."""
        return self._ask(calls.search_similar(item_id, arguments))

    def encoder(self) -> EncoderDescription:
        """Return the description of the query encoder; errors as `search`."""
        return self._ask(calls.encoder())

    def encoder_model(self, file: EncoderFile) -> bytes:
        """Return a graph of the query encoder, in ONNX; errors as `search`."""
        return self._ask(calls.encoder_model(file.url))

    def image(self, item_id: str) -> GalleryImage:
        """Return what the gallery stores about an image; errors as `search`."""
        return self._ask(calls.image(item_id))

    def thumbnail(self, item_id: str) -> bytes:
        """Return the thumbnail of an image, a WebP file; errors as `search`."""
        return self._ask(calls.thumbnail(item_id))

    def _ask(self, call: Call[_Answer]) -> _Answer:
        return self._call(call.method, call.path, call.read, safe=True, **call.options)


class AsyncSearchClient:
    """Client of the query service for an event loop; an asynchronous context manager.

    Args:
        url: URL of the service.
        timeout_s: Maximum wait for each step of a response, in seconds.
        key: API key; None uses the environment variable AFF_API_KEY.

    Raises:
        ServiceUrlError: `url` is not a URL.
    """

    def __init__(self, url: str, timeout_s: float = 30.0, key: str | None = None) -> None:
        self._address = service_url(url)
        self._http = httpx.AsyncClient(
            base_url=self._address, timeout=timeout_s, mounts=dict.fromkeys(DIRECT), headers=key_header(key)
        )
        self.url = url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

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
        return await self._ask(calls.search(photographs, arguments))

    async def search_batch(
        self, photographs: Sequence[tuple[str, bytes]], **arguments: Unpack[PhotographArguments]
    ) -> BatchResponse:
        """Search with each of several (name, file) images; the result of an unusable image is its error."""
        return await self._ask(calls.search_batch(photographs, arguments))

    async def search_embedding(
        self, embedding: Iterable[float], fingerprint: str, **arguments: Unpack[HitArguments]
    ) -> SearchResponse:
        """Search with (D,) numbers of unit length that the encoder of a fingerprint made; errors as `search`."""
        return await self._ask(calls.search_embedding(embedding, fingerprint, arguments))

    async def search_similar(self, item_id: str, **arguments: Unpack[HitArguments]) -> SearchResponse:
        """Find images similar to an image of the gallery; errors as `search`."""
        return await self._ask(calls.search_similar(item_id, arguments))

    async def encoder(self) -> EncoderDescription:
        """Return the description of the query encoder; errors as `search`."""
        return await self._ask(calls.encoder())

    async def encoder_model(self, file: EncoderFile) -> bytes:
        """Return a graph of the query encoder, in ONNX; errors as `search`."""
        return await self._ask(calls.encoder_model(file.url))

    async def image(self, item_id: str) -> GalleryImage:
        """Return what the gallery stores about an image; errors as `search`."""
        return await self._ask(calls.image(item_id))

    async def thumbnail(self, item_id: str) -> bytes:
        """Return the thumbnail of an image, a WebP file; errors as `search`."""
        return await self._ask(calls.thumbnail(item_id))

    async def _ask(self, call: Call[_Answer]) -> _Answer:
        headers = {**call_headers(), **call.options.get("headers", {})}
        options = {**call.options, "headers": headers}
        try:
            try:
                answer = await self._http.request(call.method, call.path, **options)
            except DISCONNECTED:  # no call of this service changes anything
                answer = await self._http.request(call.method, call.path, **options)
        except httpx.HTTPError as error:
            raise_unreachable(error, self._address)
        return read_answer(answer, self.url, call.read)
