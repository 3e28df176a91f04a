"""Routes that a request needs a scope for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute

from aff_shared.web.access_settings import Scope

_SCHEME = {"type": "http", "scheme": "bearer", "description": "A key of the service, where it has keys."}


class ScopedRoute(APIRoute):
    """A route that asks `app.state.access` before anything of the body is read."""

    scope: ClassVar[Scope]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A service without keys needs none.
        self.openapi_extra = {**(self.openapi_extra or {}), "security": [{"key": [self.scope.value]}, {}]}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()

        async def answer_if_allowed(request: Request) -> Response:
            request.state.caller = request.app.state.access.require(request, self.scope)
            return await answer(request)

        return answer_if_allowed


def scoped_router(scope: Scope, *, tags: list[str] | None = None) -> APIRouter:
    """Return a router whose routes need a scope."""
    return APIRouter(route_class=type("ScopedRoute", (ScopedRoute,), {"scope": scope}), tags=list(tags or ()))


def document_access(app: FastAPI) -> None:
    """Describe the key in the OpenAPI document; its operations say what they need one for."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document["components"].setdefault("securitySchemes", {})["key"] = _SCHEME
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend its document
