"""A line of the log for a request, and its id in its answer."""

from __future__ import annotations

import logging
from http import HTTPStatus
from time import perf_counter
from typing import Literal

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aff_shared.web.request_id import REQUEST_ID_HEADER, accepted_request_id, current_request_id
from aff_shared.web.root_path import route_path

_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})

_logger = logging.getLogger(__name__)


class RequestLog:
    """ASGI middleware: names requests, and logs them.

    Args:
        app: What is served.
        logged: `all` but those of probes and metrics, `failed` (400 and over), or `none`.
    """

    def __init__(self, app: ASGIApp, *, logged: Literal["all", "failed", "none"]) -> None:
        self._app = app
        self._logged = logged

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = accepted_request_id(Headers(scope=scope).get(REQUEST_ID_HEADER))
        token = current_request_id.set(request_id)
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)  # what an exception that passes through here becomes
        complete = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            complete = not message.get("more_body", False) and message["type"] == "http.response.body"
            await send(message)

        path = route_path(scope)
        began = perf_counter()
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._log(scope, path, status, complete, 1000 * (perf_counter() - began))
            current_request_id.reset(token)

    def _log(self, scope: Scope, path: str, status: int, complete: bool, milliseconds: float) -> None:
        failed = status >= HTTPStatus.BAD_REQUEST
        if self._logged == "none" or (not failed and (self._logged == "failed" or path in _PROBES)):
            return
        level = logging.ERROR if status == HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
        fields = {
            "method": scope["method"],
            "path": path,
            "status": status,
            "complete": complete,
            "duration_ms": round(milliseconds, 2),
            "client": scope["client"][0] if scope.get("client") else None,
            "caller": scope.get("state", {}).get("caller"),
        }
        _logger.log(level, "%s %s %d", scope["method"], path, status, extra=fields)
