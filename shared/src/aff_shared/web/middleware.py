"""Middleware of both services: HEAD, root path, security headers, requests that the server rejected."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aff_shared.errors import AffError


class HttpMiddleware:
    """Base of ASGI middleware that handles HTTP requests and passes other connections through.

    Args:
        app: Wrapped application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            await self.serve(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        raise NotImplementedError


class RootPath(HttpMiddleware):
    """ASGI middleware: accepts requests with and without the path prefix under which a proxy publishes the service.

    Some proxies strip the prefix before they forward a request, some do not; health checks never have it.

    Args:
        app: Wrapped application.
        root_path: Path prefix, such as `/photos`.
    """

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        super().__init__(app)
        self._root_path = root_path

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See HttpMiddleware."""
        rest = scope["path"].removeprefix(self._root_path)
        if rest != scope["path"] and _is_routed(scope, rest or "/", exactly=not rest):
            scope["path"] = self._root_path + (rest or "/")
        else:
            scope["path"] = self._root_path + scope["path"]
        scope["root_path"] = self._root_path
        await self._app(scope, receive, send)


def route_path(scope: Scope) -> str:
    """Return the path of a request without the proxy's prefix."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _is_routed(scope: Scope, path: str, *, exactly: bool) -> bool:
    """Return whether a route matches a path; with `exactly`, the method has to match too."""
    matches = {route.matches({**scope, "path": path})[0] for route in scope["app"].routes}
    return Match.FULL in matches or (Match.PARTIAL in matches and not exactly)


class HeadRequests(HttpMiddleware):
    """ASGI middleware: answers HEAD like GET, without the body."""

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See HttpMiddleware."""

        async def send_with_head_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("allow") == "GET":
                    headers["allow"] = "GET, HEAD"
            await send(message)

        async def send_without_body(message: Message) -> None:
            await send_with_head_allowed({**message, "body": b""} if "body" in message else message)

        if scope["method"] != "HEAD":
            await self._app(scope, receive, send_with_head_allowed)
            return
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send_without_body)
        finally:
            scope.update(as_get, method="HEAD")  # the route that was found, for the log and the metrics


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


class SecurityHeaders(HttpMiddleware):
    """ASGI middleware: adds the security headers that a route has not set itself."""

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See HttpMiddleware."""
        policy = _DOCUMENTATION if route_path(scope) in _DOCUMENTATION_PATHS else _DATA

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                message["headers"] += [header for header in (policy, *_ALWAYS) if header[0] not in there]
            await send(message)

        await self._app(scope, receive, send_with_headers)


_KEY = "rejection"


def reject_request(scope: Any, error: AffError) -> None:
    """Mark a request as rejected: the error is raised immediately, or when its body is read if it has started."""
    scope["state"][_KEY] = error


class RaiseRejected(HttpMiddleware):
    """ASGI middleware: raises the error with which the server rejected a request."""

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See HttpMiddleware."""
        state = scope.setdefault("state", {})

        def raise_rejection() -> None:
            if _KEY in state:
                raise state[_KEY]

        async def receive_unless_rejected() -> Message:
            message = await receive()
            raise_rejection()
            return message

        raise_rejection()
        await self._app(scope, receive_unless_rejected, send)
