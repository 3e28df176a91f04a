"""Keys of the caller's payload, as filters, groups and declared types name them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_PART = r'(?:[^."\\\[\]\x00-\x1f\x7f]+|"[^"\\]*")'
_KEY = re.compile(rf"{_PART}(?:\.{_PART})*")
_ONE_PART = re.compile(r'"([^"]*)"|([^."]+)')


def key_parts(key: str) -> list[str]:
    """Return the names along the way into nested objects: `place."f.number"` is `place`, then `f.number`."""
    return [match[1] if match[1] is not None else match[2] for match in _ONE_PART.finditer(key)]


def _require_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(
            "a key is made of names with a dot between them, as in place.city; a name with a dot or a bracket stands "
            'in double quotes, as in "f.number"; a name with a double quote or a backslash in it cannot be used here'
        )
    return key


PayloadKey = Annotated[
    str, AfterValidator(_require_key), Field(max_length=256, json_schema_extra={"pattern": f"^{_KEY.pattern}$"})
]
