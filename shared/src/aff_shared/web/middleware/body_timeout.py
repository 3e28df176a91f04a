"""A limit on the time in which the body of a request arrives."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aff_shared.errors import BodyTimeoutError


class BodyTimeout:
    """ASGI middleware: the route that reads a body which does not arrive in time meets BodyTimeoutError.

    A body that is sent a byte a minute would hold memory and a connection for as long as its sender likes.

    Args:
        app: What is served.
        timeout_s: From the request's head to the end of its body.
    """

    def __init__(self, app: ASGIApp, *, timeout_s: float) -> None:
        self._app = app
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        arrived = False

        async def receive_in_time() -> Message:
            nonlocal arrived
            if arrived:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise BodyTimeoutError(f"the body did not arrive within {self._timeout_s:g} s") from error
            arrived = not message.get("more_body", False)
            return message

        await self._app(scope, receive_in_time, send)
