"""Ids of images: their form, their normalisation, and the ids that new images cannot have."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

from aff_shared.schemas.examples import ITEM_ID

_MAX_LENGTH = 512
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCHEMA = {"minLength": 1, "maxLength": _MAX_LENGTH, "pattern": r"^[^\x00-\x1f\x7f]+$"}


def canonical_id(item_id: str) -> str:
    """Return an id in Unicode's form NFC, in which the gallery stores it: `é` may be one character or two."""
    return unicodedata.normalize("NFC", item_id)


def other_spellings(item_id: str) -> set[str]:
    """Return the same id in other normalisations: earlier releases stored ids without normalising them."""
    if item_id.isascii():
        return set()
    return {unicodedata.normalize("NFC", item_id), unicodedata.normalize("NFD", item_id)} - {item_id}


def require_well_formed(item_id: str) -> str:
    """Return an id unchanged.

    Raises:
        ValueError: It is empty, longer than 512 characters in NFC, or has a control character.
    """
    if not 1 <= len(canonical_id(item_id)) <= _MAX_LENGTH or _CONTROL.search(item_id):
        raise ValueError(f"an id has 1 to {_MAX_LENGTH} characters, none of them a control character")
    return item_id


def require_addressable(item_id: str) -> str:
    """Return an id unchanged that a path of an address can hold, so that a new image may have it.

    Raises:
        ValueError: It is malformed, has a part `.` or `..`, which clients and proxies take out of an address so that it
            means another image, or ends in `/thumbnail`, which is the address of another image's thumbnail.
    """
    parts = re.split(r"[/\\]", require_well_formed(item_id))
    if {".", ".."} & set(parts):
        raise ValueError("an id has no part . or .. between slashes: addresses with it mean another image")
    if item_id.rstrip("/").endswith("/thumbnail"):
        raise ValueError("an id does not end in /thumbnail: that is the address of another image's thumbnail")
    return item_id


ItemId = Annotated[str, AfterValidator(require_well_formed), Field(examples=[ITEM_ID], json_schema_extra={**_SCHEMA})]
