"""A service below a path of a proxy."""

from __future__ import annotations

from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send


class RootPath:
    """ASGI middleware: takes requests with and without the path below which a proxy shows the service.

    Some proxies take that path off before they pass a request on, some do not; health checks never have it.

    Args:
        app: What is served.
        root_path: Such as `/photos`.
    """

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            rest = scope["path"].removeprefix(self._root_path)
            if rest != scope["path"] and _is_routed(scope, rest or "/", exactly=not rest):
                scope["path"] = self._root_path + (rest or "/")
            else:
                scope["path"] = self._root_path + scope["path"]
            scope["root_path"] = self._root_path
        await self._app(scope, receive, send)


def route_path(scope: Scope) -> str:
    """Return the path of a request as the routes have it, without the proxy's."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _is_routed(scope: Scope, path: str, *, exactly: bool) -> bool:
    """Return whether a route of the application has a path; `exactly` asks for one with the request's method."""
    matches = {route.matches({**scope, "path": path})[0] for route in scope["app"].routes}
    return Match.FULL in matches or (Match.PARTIAL in matches and not exactly)
