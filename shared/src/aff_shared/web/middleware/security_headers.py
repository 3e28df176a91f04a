"""Headers that tell a browser to do nothing with an answer but read it."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aff_shared.web.root_path import route_path

_DATA = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
# FastAPI's pages of the interactive documentation load Swagger UI and ReDoc from there, and begin with a script inside.
_DOCUMENTATION = (
    b"content-security-policy",
    b"default-src 'none'; connect-src 'self'; script-src 'unsafe-inline' https://cdn.jsdelivr.net; worker-src blob:; "
    b"style-src 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    b"font-src https://fonts.gstatic.com; "
    b"img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly; frame-ancestors 'none'; base-uri 'none'",
)
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_DOCUMENTATION_PATHS = frozenset({"/docs", "/redoc"})


class SecurityHeaders:
    """ASGI middleware: adds the headers that a route has not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        policy = _DOCUMENTATION if route_path(scope) in _DOCUMENTATION_PATHS else _DATA

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                message["headers"] += [header for header in (policy, *_ALWAYS) if header[0] not in there]
            await send(message)

        await self._app(scope, receive, send_with_headers)
