"""Middleware of both services: methods, root path, slashes, security headers, requests that the server rejected."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.routing import Match, Mount
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
        if rest != scope["path"] and _is_routed(scope, rest.rstrip("/") or "/", exactly=not rest):
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


class TrailingSlashes(HttpMiddleware):
    """ASGI middleware: serves `/search/` as `/search`, without a redirect, which could lose the body.

    A slash at the end of an id belongs to the id.
    """

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See HttpMiddleware."""
        path = route_path(scope)
        without = path.rstrip("/")
        if without != path and without:
            as_sent = {**scope, "root_path": ""}
            is_other = not _is_routed(as_sent, path, exactly=False) and _is_routed(as_sent, without, exactly=False)
            if is_other or without in _fixed_paths(scope["app"].routes):
                scope["path"] = scope.get("root_path", "") + without
        await self._app(scope, receive, send)


def _fixed_paths(routes: Iterable[Any]) -> set[str]:
    """Return the paths of routes without parameters; routers that are included in FastAPI's have their own routes."""
    found: set[str] = set()
    for route in routes:
        included = getattr(route, "original_router", None)
        found |= {route.path} if included is None else _fixed_paths(included.routes)
    return {path for path in found if "{" not in path}


class Methods(HttpMiddleware):
    """ASGI middleware: answers HEAD like GET, without the body, and names all methods of a path in `Allow`."""

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See HttpMiddleware."""
        path = route_path(scope)

        async def send_with_methods(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.METHOD_NOT_ALLOWED:
                headers = MutableHeaders(scope=message)
                headers["allow"] = ", ".join(_methods_of(scope, path) or ("GET", "HEAD"))  # or static files
            await send(message)

        async def send_without_body(message: Message) -> None:
            await send_with_methods({**message, "body": b""} if "body" in message else message)

        if scope["method"] != "HEAD":
            await self._app(scope, receive, send_with_methods)
            return
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send_without_body)
        finally:
            scope.update(as_get, method="HEAD")  # the route that was found, for the log and the metrics


def _methods_of(scope: Scope, path: str) -> list[str]:
    """Return the methods of all routes of a path."""
    asked = {**scope, "root_path": "", "path": path}
    routes = [route for route in scope["app"].routes if not isinstance(route, Mount)]
    found = [
        method
        for method in _METHODS
        if any(route.matches({**asked, "method": method})[0] is Match.FULL for route in routes)
    ]
    return ["GET", "HEAD", *found[1:]] if found[:1] == ["GET"] else found


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class SecurityHeaders(HttpMiddleware):
    """ASGI middleware: adds the security headers that a route has not set itself."""

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See HttpMiddleware."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                message["headers"] += [header for header in _HEADERS if header[0] not in there]
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
