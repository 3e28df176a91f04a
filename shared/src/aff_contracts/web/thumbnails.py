"""The answer that carries a thumbnail."""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import Request, Response

_MEDIA_TYPE = "image/webp"

THUMBNAIL: dict[int | str, dict[str, Any]] = {
    200: {"description": "A WebP file.", "content": {_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
}
"""OpenAPI's description of the answer; a 304 has neither body nor schema."""


def thumbnail_response(thumbnail: bytes, request: Request) -> Response:
    """Answer with a thumbnail, or with 304 where the caller's `If-None-Match` names it."""
    tag = f'"{hashlib.sha256(thumbnail).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(thumbnail, media_type=_MEDIA_TYPE, headers=headers)
