"""A limit on the body of a request, kept before and while the body is read.

Starlette's own limit answers in plain text where Content-Length tells the size; every error of these services
is a problem, so the limit is kept here.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aff_shared.errors import BodyTooLargeError


class BodyLimit:
    """ASGI middleware: raises BodyTooLargeError for a body of more than `max_body_bytes` bytes.

    A body that announces its length is refused unread. A chunked one is counted, and the route that reads it meets the
    error.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_body_bytes:
            raise self._error()
        await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        received_bytes = 0

        async def receive_within_limit() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > self._max_body_bytes:
                raise self._error()
            return message

        return receive_within_limit

    def _error(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"the body is larger than the limit of {self._max_body_bytes} bytes")
