"""Options of a search from its query parameters and the fields of its form.

FastAPI's own parameter models look at the types of their fields anew in every request, which takes a quarter of what
the frame around a search takes (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import ValidationError

from aff_shared.errors import InvalidParameterError
from aff_shared.schemas.searching import SearchOptions

_Options = TypeVar("_Options", bound=SearchOptions)


def query_parameters(model: type[SearchOptions]) -> list[dict[str, Any]]:
    """Describe, for OpenAPI, options that may be query parameters."""
    described = []
    for name, schema in model.model_json_schema()["properties"].items():
        shown = {key: value for key, value in schema.items() if key != "default"}
        described.append(
            {"name": name, "in": "query", "required": False, "schema": shown, "description": schema["description"]}
        )
    return described


def read_options(
    model: type[_Options],
    request: Request,
    fields: Iterable[tuple[str, str | None]] = (),
    *,
    passed_over: Collection[str] = (),
) -> _Options:
    """Read the options of a request.

    Args:
        model: Of the options.
        request: Its query parameters are looked at.
        fields: Options that its form holds.
        passed_over: Query parameters that are no options.

    Raises:
        InvalidParameterError: An option is unknown, out of range, or given twice.
    """
    given: dict[str, str | None] = {}
    for name, value in (*request.query_params.multi_items(), *fields):
        if name in passed_over:
            continue
        if name in given:
            raise InvalidParameterError("given more than once, as a query parameter or in the form", item=name)
        given[name] = value
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidParameterError(first["msg"], item=str(first["loc"][0])) from error
