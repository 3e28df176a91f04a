"""Fetches images that a request names by URL or path, if the operator allows it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aff_shared.errors import (
    AffError,
    ImageSourceRefusedError,
    ImageTooManyBytesError,
    ImageUnreachableError,
)
from gallery_indexer.indexing.index_task import UploadedImage
from gallery_indexer.remote.url_images import UrlImages
from gallery_indexer.settings import IndexerSettings

_AT_A_TIME = 8


class RemoteImageLoader:
    """Reads images by URL, and by path below a directory.

    Args:
        urls: Fetches URLs; None to reject them.
        root: Directory of the paths; None to reject paths.
        max_image_bytes: Largest image.
        max_request_bytes: Largest sum of the images of one request.
    """

    def __init__(
        self, urls: UrlImages | None, root: Path | None, *, max_image_bytes: int, max_request_bytes: int
    ) -> None:
        self._urls = urls
        self._root = None if root is None else root.resolve()
        self._max_image_bytes = max_image_bytes
        self._max_request_bytes = max_request_bytes

    @classmethod
    def of_settings(cls, settings: IndexerSettings) -> RemoteImageLoader:
        """Return a loader with the limits of the settings."""
        limit = settings.image_limits.max_image_bytes
        urls = None
        if settings.url_sources:
            urls = UrlImages(
                schemes=settings.url_schemes,
                hosts=settings.url_hosts,
                timeout_s=settings.url_timeout_s,
                max_redirects=settings.url_max_redirects,
                max_bytes=limit,
            )
        return cls(urls, settings.source_root, max_image_bytes=limit, max_request_bytes=settings.max_body_bytes)

    async def fetch(self, images: Sequence[UploadedImage]) -> list[UploadedImage]:
        """Return the images with the data, or the error, of each one that has to be fetched."""
        places = asyncio.Semaphore(_AT_A_TIME)
        left_bytes = self._max_request_bytes

        async def fetched(image: UploadedImage) -> UploadedImage:
            nonlocal left_bytes
            if image.data is not None:
                return image
            async with places:
                try:
                    data = await self._read(image)
                    left_bytes -= len(data)
                    if left_bytes < 0:
                        limit = self._max_request_bytes
                        raise ImageTooManyBytesError(f"the images of the request have more than {limit} bytes in total")
                except AffError as error:
                    error.item = image.name
                    return replace(image, data=error)
                return replace(image, data=data)

        return await asyncio.gather(*map(fetched, images))

    async def close(self) -> None:
        """Close connections."""
        if self._urls is not None:
            await self._urls.close()

    async def _read(self, image: UploadedImage) -> bytes:
        if image.url is not None:
            if self._urls is None:
                raise ImageSourceRefusedError("this service does not accept URLs (AFF_INDEX_URL_SOURCES)")
            return await self._urls.get(image.url)
        assert image.path is not None, "one of the two is set"
        return await asyncio.to_thread(self._read_path, image.path)

    def _read_path(self, path: str) -> bytes:
        if self._root is None:
            raise ImageSourceRefusedError("this service does not accept paths (AFF_INDEX_SOURCE_ROOT)")
        try:
            file = (self._root / path).resolve()
            if not file.is_relative_to(self._root):
                raise ImageSourceRefusedError("the path leads out of the source directory")
            if not file.is_file():
                raise ImageUnreachableError("there is no such file")
            if file.stat().st_size > self._max_image_bytes:
                raise ImageTooManyBytesError(f"more than {self._max_image_bytes} bytes")
            return file.read_bytes()
        except (OSError, ValueError, RuntimeError) as error:  # unreadable, a null byte, a loop of links
            raise ImageUnreachableError("cannot be read") from error
