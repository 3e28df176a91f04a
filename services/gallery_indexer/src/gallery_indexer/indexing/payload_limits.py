"""Limits of payloads, such that every store accepts and returns them unchanged."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aff_shared.errors import InvalidItemsError
from aff_shared.schemas.indexing import JsonObject
from aff_shared.schemas.payload_schema import FORMS, PayloadType, key_of_another_type

MAX_DEPTH = 32
_LAST_DIGIT = 1e-15
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class PayloadLimits:
    """Limits that the operator sets.

    Attributes:
        max_bytes: Largest size as compact JSON, in bytes of UTF-8.
        schema: Declared types of payload keys.
    """

    max_bytes: int
    schema: Mapping[str, PayloadType] = field(default_factory=dict)


def require_storable(payload: JsonObject, limits: PayloadLimits, *, item: str) -> None:
    """Raise unless the payload can be stored.

    Args:
        payload: The caller's JSON object.
        limits: Limits that the operator sets.
        item: Name of the image, for the message.

    Raises:
        InvalidItemsError: Too large, nested deeper than `MAX_DEPTH`, with a number that is not finite or an integer
            beyond 64 bits, or with a value of another type than its key's declared one.
    """
    for key, value in payload.items():
        if not _fits(value, MAX_DEPTH - 1):
            detail = f"the payload's {key} is nested deeper than {MAX_DEPTH}, or has an integer beyond 64 bits"
            raise InvalidItemsError(detail, item=item)
    try:
        text = json.dumps(payload, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except ValueError as error:
        raise InvalidItemsError("the payload has a number that is not finite", item=item) from error
    size_bytes = len(text.encode())
    if size_bytes > limits.max_bytes:
        raise InvalidItemsError(f"the payload has {size_bytes} bytes, the limit is {limits.max_bytes} bytes", item=item)
    wrong = key_of_another_type(payload, limits.schema)
    if wrong is not None:
        kind = limits.schema[wrong]
        raise InvalidItemsError(f"the payload's {wrong} is not of its declared type {kind}: {FORMS[kind]}", item=item)


def same_payload(one: Any, other: Any) -> bool:
    """Return whether two payloads are the same JSON.

    Fractions may differ in their last digit, since Qdrant changes it in about one of eight. `true` and `1` differ,
    unlike in Python.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_payload(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_payload, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_LAST_DIGIT)
    return type(one) is type(other) and bool(one == other)


def _fits(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_fits(member, depth - 1) for member in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_fits(element, depth - 1) for element in value)
    return not isinstance(value, int) or value in _INT64
