"""The declared types of payload keys, and the check of a payload against them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from aff_shared.schemas.payload_filter import MOMENT_FORM, GeoPoint, Moment, key_parts

PayloadType = Literal["keyword", "integer", "float", "bool", "datetime", "geo"]

FORMS: Mapping[PayloadType, str] = {
    "keyword": "a text",
    "integer": "a number without a fraction",
    "float": "a number",
    "bool": "true or false",
    "datetime": MOMENT_FORM,
    "geo": "an object of lat, from -90 to 90, and lon, from -180 to 180",
}
"""What a value of each type looks like; a list of such values is of the type, too."""

DETAILS_SCHEMA: Mapping[str, PayloadType] = {
    "folder": "keyword",
    "file_name": "keyword",
    "taken_at": "datetime",
    "camera": "keyword",
}
"""Types of the details that `aff index` and `POST /index?details=true` add to payloads."""


def _is_valid(form: TypeAdapter[Any], value: Any) -> bool:
    try:
        form.validate_python(value)
    except ValidationError:
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TESTS: Mapping[PayloadType, Callable[[Any], bool]] = {
    "keyword": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "datetime": partial(_is_valid, TypeAdapter[datetime](Moment)),
    "geo": partial(_is_valid, TypeAdapter(GeoPoint)),
}


def key_of_another_type(payload: Mapping[str, Any], schema: Mapping[str, PayloadType]) -> str | None:
    """Return the first key whose value, or an element of whose list, is not of its declared type; None for none.

    A key that is absent, or null, is of every type. A dot in a key goes into nested objects.
    """
    for key, kind in schema.items():
        if not all(_TESTS[kind](value) for value in _values(payload, key_parts(key))):
            return key
    return None


def _values(node: Any, path: list[str]) -> Iterator[Any]:
    for name in path:
        if not isinstance(node, Mapping) or name not in node:
            return
        node = node[name]
    yield from (value for value in (node if isinstance(node, list) else [node]) if value is not None)
