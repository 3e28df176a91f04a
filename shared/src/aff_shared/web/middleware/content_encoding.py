"""Bodies of requests are taken as they are: an image is compressed already."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from aff_shared.errors import ContentEncodingError


class RefuseContentEncoding:
    """ASGI middleware: raises ContentEncodingError for a request whose body is encoded, before it is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        named = ", ".join(Headers(scope=scope).getlist("content-encoding")) if scope["type"] == "http" else ""
        if all(encoding.strip().lower() in {"", "identity"} for encoding in named.split(",")):
            await self._app(scope, receive, send)
            return
        raise ContentEncodingError(f"the body is encoded as {named}: send it as it is", item="content-encoding")
