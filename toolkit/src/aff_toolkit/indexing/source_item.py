"""One image of a source."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, time
from typing import Any

from aff_shared.errors import AffError
from aff_shared.schemas.indexing import JsonObject
from aff_shared.schemas.item_id import canonical_id
from aff_toolkit.data.image_files import encodable

_AROUND = re.compile(r"^(?:\.{1,2}/+)+")


class SourceError(AffError):
    """A source cannot be read, or one of its entries cannot be used."""

    code = "source_unusable"
    status = 422
    title = "Unusable source"


@dataclass(frozen=True, slots=True)
class SourceItem:
    """An image that is to be indexed.

    Attributes:
        id: The item's id in the gallery.
        location: Location for messages: a path, a URL, a member of a tar file.
        read: Function that returns the encoded image file; called once, possibly in another thread. Raises SourceError,
            or any exception of the file system.
        payload: JSON object that is kept with the image.
    """

    id: str
    location: str
    read: Callable[[], bytes]
    payload: JsonObject = field(default_factory=dict)


def unusable(item_id: str, location: str, why: str | AffError) -> SourceItem:
    """Return an item that fails when it is read, for an unusable entry."""
    error = SourceError(why, item=item_id) if isinstance(why, str) else why

    def fail() -> bytes:
        raise error

    return SourceItem(item_id, location, fail)


def id_of_path(path: str) -> str:
    """Return the id of an image by its path in a list or archive: without `./` and `../` before it, which no id has."""
    return _AROUND.sub("", path)


@contextmanager
def reading(location: str) -> Iterator[None]:
    """Translate errors of reading a list or an archive, which may be exceptions of any type.

    Raises:
        SourceError: The list or archive cannot be read; an AffError is not translated.
    """
    try:
        yield
    except AffError:
        raise
    except Exception as error:
        raise SourceError(f"cannot be read: {str(error) or type(error).__name__}", item=location) from error


def below(prefix: str, item: SourceItem) -> SourceItem:
    """Return an item with a prefix before its ID, if any."""
    return replace(item, id=f"{prefix.strip('/')}/{item.id.lstrip('/')}") if prefix.strip("/") else item


def storable(item: SourceItem) -> SourceItem:
    """Return an item that can be sent; one whose ID or payload cannot be written as JSON fails when it is read.

    Otherwise its whole batch would be rejected. Examples are NaN and bytes of Parquet, and halves of UTF-16 pairs.
    """
    item = replace(item, id=canonical_id(item.id), location=encodable(item.location))
    if _is_json([item.id, item.payload]):
        return item
    name = item.id.encode(errors="backslashreplace").decode()
    return unusable(name, item.location, not_json(item.payload) or "the id cannot be written as JSON; write it as text")


def not_json(payload: JsonObject) -> str | None:
    """Return why a payload cannot be written as JSON, with the key; None if it can."""
    for key, value in payload.items():
        if not _is_json({key: value}):
            what = f"{key!r} of the payload, {value!r:.80},"
            return f"{what} cannot be written as JSON; leave it out, or write it as text"
    return None


def json_value(value: Any) -> Any:
    """Return a value of Parquet or Arrow in the types of JSON where it has one: dates and times are ISO 8601 text."""
    if isinstance(value, date | time):  # datetime is a date
        return value.isoformat()
    if isinstance(value, dict):
        return {name: json_value(one) for name, one in value.items()}
    return [json_value(one) for one in value] if isinstance(value, list | tuple) else value  # a map has tuples


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True
