"""Bodies of requests are admitted before they are read."""

from __future__ import annotations

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aff_shared.web.byte_budget import ByteBudget, Place


class BodyAdmission:
    """ASGI middleware: the route that reads a body for which there is no room meets ServiceOverloadedError.

    A body that announces its length is admitted as a whole, before anything of it is read; a chunked one as it
    arrives. What was admitted is held until the request is answered. A body that no route reads needs no room: the
    server stops receiving it.
    """

    def __init__(self, app: ASGIApp, *, admission: ByteBudget) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._admission.place() as place:
            scope.setdefault("state", {})["place"] = place
            await self._app(scope, _admitted(receive, place, _announced_bytes(scope)), send)


def place_of(request: Request) -> Place:
    """Return the place of a request, for what it holds beside its body."""
    place: Place = request.state.place
    return place


def _announced_bytes(scope: Scope) -> int | None:
    announced = Headers(scope=scope).get("content-length", "")
    return int(announced) if announced.isdecimal() else None


def _admitted(receive: Receive, place: Place, announced_bytes: int | None) -> Receive:
    unadmitted = announced_bytes

    async def receive_admitted() -> Message:
        nonlocal unadmitted
        if unadmitted:
            place.take(unadmitted)
            unadmitted = 0
        message = await receive()
        if announced_bytes is None and message.get("body"):
            place.take(len(message["body"]))
        return message

    return receive_admitted
