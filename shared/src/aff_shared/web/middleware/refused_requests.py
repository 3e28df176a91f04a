"""Requests that the server could not read, or did not take: the application answers them as any other."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aff_shared.errors import AffError

_KEY = "refused"


def remix_scope(scope: Any, error: AffError) -> None:
    """Have a request answered with an error: at once where it has not begun, else where its body is read."""
    scope["state"][_KEY] = error


class RaiseRefused:
    """ASGI middleware: raises the error that the server refused a request with."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        state = scope.setdefault("state", {})

        def raise_refused() -> None:
            if _KEY in state:
                raise state[_KEY]

        async def receive_unless_refused() -> Message:
            message = await receive()
            raise_refused()
            return message

        raise_refused()
        await self._app(scope, receive_unless_refused, send)
