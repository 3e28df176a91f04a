"""Routes of one image of the gallery, whose id stands in the query or in the path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from pydantic import TypeAdapter, ValidationError

from aff_shared.errors import InvalidParameterError
from aff_shared.schemas.item_id import ItemId

ID_PARAMETER = "id"

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])
_ID = TypeAdapter[str](ItemId)
_SCHEMA = _ID.json_schema()


async def _named_item(request: Request) -> str:
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


NamedItem = Annotated[str, Depends(_named_item)]
"""The id of the image that a request is about, for the endpoint of an `item_route`."""


def item_route(
    router: APIRouter, method: str, by_query: str, by_path: str, **options: Any
) -> Callable[[_Endpoint], _Endpoint]:
    """Return a decorator that serves an endpoint at two addresses.

    The query holds any id. A path does not come through every client and proxy as it was written: some merge slashes.

    Args:
        router: Gets the routes.
        method: Of HTTP.
        by_query: Path of the address with `?id=`.
        by_path: Path with `{item_id:path}`.
        options: As for `APIRouter.add_api_route`.
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
