"""Refuses searches before their bodies are read, while there is no room for them."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from aff_shared.web.root_path import route_path


class LoadSheddingMiddleware:
    """ASGI middleware: raises ServiceOverloadedError for a search at once where the queue is full.

    Reading a photograph only to refuse it would take from those that are answered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and route_path(scope).startswith("/search"):
            scope["app"].state.components.queue.require_room()
        await self._app(scope, receive, send)
