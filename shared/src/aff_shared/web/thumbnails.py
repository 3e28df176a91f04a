"""The answer that carries a thumbnail."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fastapi import Request, Response

from aff_shared.errors import ImageNotFoundError

_MEDIA_TYPE = "image/webp"

THUMBNAIL: dict[int | str, dict[str, Any]] = {
    200: {"description": "A WebP file.", "content": {_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
}
"""OpenAPI's description of the answer; a 304 has neither body nor schema."""


class ThumbnailSource(Protocol):
    """What gives thumbnails."""

    async def thumbnails(self, item_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the thumbnails that are kept of these images, by their ids."""
        ...


async def thumbnail_response(source: ThumbnailSource, item_id: str, request: Request) -> Response:
    """Answer with a thumbnail, or with 304 where the caller's `If-None-Match` names it.

    Raises:
        ImageNotFoundError: None is kept of this image.
        StoreError: The source is away.
    """
    thumbnail = (await source.thumbnails([item_id])).get(item_id)
    if thumbnail is None:
        raise ImageNotFoundError("the gallery holds no thumbnail of this id", item=item_id)
    tag = f'"{hashlib.sha256(thumbnail).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(thumbnail, media_type=_MEDIA_TYPE, headers=headers)
