"""Routes that need a scope, routes of one image, and their OpenAPI descriptions."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Protocol, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.json_schema import models_json_schema

from aff_shared.errors import ImageNotFoundError, InvalidParameterError
from aff_shared.schemas.item_id import ItemId
from aff_shared.web.settings import Scope

_SCHEME = {"type": "http", "scheme": "bearer", "description": "API key; required if the service has keys."}

_FORMS = [
    f"response_model_{form}" for form in ("include", "exclude", "exclude_unset", "exclude_defaults", "exclude_none")
]


class ScopedRoute(APIRoute):
    """A route that checks `app.state.access` before the body is read."""

    scope: ClassVar[Scope]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A service without keys needs none.
        self.openapi_extra = {**(self.openapi_extra or {}), "security": [{"key": [self.scope.value]}, {}]}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = self._whole_request_handler() or super().get_route_handler()

        async def answer_if_allowed(request: Request) -> Response:
            request.state.caller = request.app.state.access.require(request, self.scope)
            return await answer(request)

        return answer_if_allowed

    def _whole_request_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]] | None:
        """Return what answers if the endpoint takes only the request and returns a model; otherwise None.

        FastAPI's own handler opens exit stacks, resolves dependencies and validates the result, which is a tenth of
        this process's time for a search. It is used for routes with dependencies, or with another form of the model.
        """
        endpoint, model, status = self.endpoint, self.response_model, self.status_code or 200
        takes_request = list(inspect.signature(endpoint).parameters) == [self.dependant.request_param_name]
        is_model = isinstance(model, type) and issubclass(model, BaseModel) and inspect.iscoroutinefunction(endpoint)
        if not takes_request or not is_model or self.dependant.dependencies or any(map(self.__dict__.get, _FORMS)):
            return None

        async def answer(request: Request) -> Response:
            result: BaseModel = await endpoint(request)
            return Response(result.model_dump_json(by_alias=True), status, media_type="application/json")

        return answer


def scoped_router(scope: Scope, *, tags: list[str] | None = None) -> APIRouter:
    """Return a router whose routes need a scope."""
    return APIRouter(route_class=type("ScopedRoute", (ScopedRoute,), {"scope": scope}), tags=list(tags or ()))


def document_access(app: FastAPI) -> None:
    """Describe the key in the OpenAPI document; operations list the scopes that they need."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document["components"].setdefault("securitySchemes", {})["key"] = _SCHEME
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend its document


ID_PARAMETER = "id"

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])
_ID = TypeAdapter[str](ItemId)
_SCHEMA = _ID.json_schema()


async def named_item(request: Request) -> str:
    """Return the id that a request names.

    Raises:
        InvalidParameterError: It is missing, named twice, or none.
    """
    place, in_path = ("item_id", request.path_params.get("item_id")) if "item_id" in request.path_params else ("", None)
    if in_path and request.scope["path"].endswith("\n"):
        in_path += "\n"  # the pattern of a route leaves it out, and the id would be that of another image
    given = [one for one in (in_path, *request.query_params.getlist(ID_PARAMETER)) if one]
    if len(given) != 1:
        raise InvalidParameterError("the id of one image is needed, once", item=place or ID_PARAMETER)
    try:
        return _ID.validate_python(given[0])
    except ValidationError as error:
        raise InvalidParameterError(error.errors()[0]["msg"], item=place or ID_PARAMETER) from error


NamedItem = Annotated[str, Depends(named_item)]
"""The id of the image that a request is about, for the endpoint of an `item_route`."""


def item_route(
    router: APIRouter, method: str, by_query: str, by_path: str, **options: Any
) -> Callable[[_Endpoint], _Endpoint]:
    """Return a decorator that serves an endpoint at two addresses.

    The query can hold any id. Some clients and proxies change paths: they merge slashes.

    Args:
        router: Router to which the routes are added.
        method: HTTP method.
        by_query: Path of the route with `?id=`.
        by_path: Path of the route with `{item_id:path}`.
        options: Arguments of `APIRouter.add_api_route`.
    """
    extra = options.pop("openapi_extra", {})

    def register(endpoint: _Endpoint) -> _Endpoint:
        name = endpoint.__name__
        for path, operation, place, parameter in (
            (by_query, f"{name}_by_id", "query", ID_PARAMETER),
            (by_path, name, "path", "item_id"),
        ):
            described = {"name": parameter, "in": place, "required": True, "schema": _SCHEMA}
            parameters = [described, *extra.get("parameters", ())]
            documented = {**extra, "parameters": parameters}
            router.add_api_route(path, endpoint, methods=[method], name=operation, openapi_extra=documented, **options)
        return endpoint

    return register


_REF_TEMPLATE = "#/components/schemas/{model}"


def reference(model: type[BaseModel]) -> dict[str, str]:
    """Return the schema that refers to a documented model."""
    return {"$ref": _REF_TEMPLATE.format(model=model.__name__)}


def document_schemas(app: FastAPI, *models: type[BaseModel]) -> None:
    """Add models, and those that they refer to, to the components of an application's OpenAPI document."""
    generate = app.openapi
    _, found = models_json_schema([(model, "serialization") for model in models], ref_template=_REF_TEMPLATE)

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name, schema in found["$defs"].items():
            schemas.setdefault(name, schema)
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend its document


_MEDIA_TYPE = "image/webp"

THUMBNAIL: dict[int | str, dict[str, Any]] = {
    200: {"description": "A WebP file.", "content": {_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
}
"""OpenAPI description of the response; a 304 has neither body nor schema."""


# A browser shows a thumbnail again without a request for an hour, and with one that it does not wait for during a week.
_CACHED = "private, max-age=3600, stale-while-revalidate=604800"


class ThumbnailSource(Protocol):
    """Source of thumbnails."""

    async def thumbnails(self, item_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the stored thumbnails of these images, by id."""
        ...


async def thumbnail_response(source: ThumbnailSource, item_id: str, request: Request) -> Response:
    """Answer with a thumbnail, or with 304 where the caller's `If-None-Match` names it.

    Raises:
        ImageNotFoundError: The image has no thumbnail.
        StoreError: The source is unavailable.
    """
    thumbnail = (await source.thumbnails([item_id])).get(item_id)
    if thumbnail is None:
        raise ImageNotFoundError("the gallery holds no thumbnail of this id", item=item_id)
    tag = f'"{hashlib.sha256(thumbnail).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": _CACHED}
    if is_unchanged(request, tag):
        return Response(status_code=304, headers=headers)
    return Response(thumbnail, media_type=_MEDIA_TYPE, headers=headers)


def is_unchanged(request: Request, tag: str) -> bool:
    """Return whether the caller's `If-None-Match` names an entity tag: alone, in a list, weakly, or as `*`."""
    named = {one.strip().removeprefix("W/") for one in ",".join(request.headers.getlist("if-none-match")).split(",")}
    return tag in named or "*" in named
