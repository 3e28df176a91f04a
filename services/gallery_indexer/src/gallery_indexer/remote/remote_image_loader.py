"""Fetches the images that a request only names, as far as the operator allows it."""

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
from gallery_indexer.indexing.uploaded_image import ImageLocation, UploadedImage
from gallery_indexer.remote.url_images import UrlImages
from gallery_indexer.settings import IndexerSettings

_AT_A_TIME = 8


class RemoteImageLoader:
    """Reads images by URL, and by path below a directory.

    Args:
        urls: Gets URLs; None where the operator allows none.
        root: Directory of the paths; None where the operator allows none.
        max_image_bytes: Largest image.
        max_request_bytes: Most bytes that are fetched for one request.
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
        """Allow what the settings allow."""
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
        """Replace each location by the image, or by why it could not be had; the others stay as they are."""
        places = asyncio.Semaphore(_AT_A_TIME)
        left_bytes = self._max_request_bytes

        async def fetched(image: UploadedImage) -> UploadedImage:
            nonlocal left_bytes
            if not isinstance(image.data, ImageLocation):
                return image
            async with places:
                try:
                    data = await self._read(image.data)
                    left_bytes -= len(data)
                    if left_bytes < 0:
                        limit = self._max_request_bytes
                        raise ImageTooManyBytesError(f"the images of a request have more than {limit} bytes in all")
                except AffError as error:
                    error.item = image.name
                    return replace(image, data=error)
                return replace(image, data=data)

        return await asyncio.gather(*map(fetched, images))

    async def close(self) -> None:
        """Close connections."""
        if self._urls is not None:
            await self._urls.close()

    async def _read(self, location: ImageLocation) -> bytes:
        if location.url is not None:
            if self._urls is None:
                raise ImageSourceRefusedError("this service takes no URLs (AFF_INDEX_URL_SOURCES)")
            return await self._urls.get(location.url)
        assert location.path is not None, "one of the two is set"
        return await asyncio.to_thread(self._read_path, location.path)

    def _read_path(self, path: str) -> bytes:
        if self._root is None:
            raise ImageSourceRefusedError("this service takes no paths (AFF_INDEX_SOURCE_ROOT)")
        try:
            place = (self._root / path).resolve()
            if not place.is_relative_to(self._root):
                raise ImageSourceRefusedError("the path leads out of the directory of the sources")
            if not place.is_file():
                raise ImageUnreachableError("there is no such file")
            if place.stat().st_size > self._max_image_bytes:
                raise ImageTooManyBytesError(f"more than {self._max_image_bytes} bytes")
            return place.read_bytes()
        except (OSError, ValueError, RuntimeError) as error:  # unreadable, a null byte, a loop of links
            raise ImageUnreachableError("cannot be read") from error


def has_locations(images: Sequence[UploadedImage]) -> bool:
    """Say whether one of the images is only named."""
    return any(isinstance(image.data, ImageLocation) for image in images)
