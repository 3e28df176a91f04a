"""Takes the change of a payload out of the two forms of `PATCH /images/{id}`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Request
from pydantic_core import from_json

from aff_shared.errors import InvalidItemsError
from aff_shared.schemas.examples import PAYLOAD, PAYLOAD_PATCH
from aff_shared.schemas.indexing import JsonObject
from gallery_indexer.collections.edit_gallery import merged

_MERGE_PATCH = "application/merge-patch+json"
_SCHEMA = {"type": "object", "additionalProperties": True}  # without the second, a generated client sends no member

PAYLOAD_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {"schema": {"title": "Payload", **_SCHEMA}, "example": PAYLOAD},
        _MERGE_PATCH: {"schema": {"title": "PayloadPatch", **_SCHEMA}, "example": PAYLOAD_PATCH},
    },
}
"""OpenAPI's description of the two forms."""


async def read_payload_change(request: Request) -> Callable[[JsonObject], JsonObject]:
    """Return what is to be made of a payload.

    Raises:
        InvalidItemsError: The body is not a JSON object.
    """
    try:
        document = from_json(await request.body(), allow_inf_nan=False)
    except ValueError as error:
        raise InvalidItemsError(f"not JSON: {error}", item="body") from error
    if not isinstance(document, dict):
        raise InvalidItemsError("a payload is a JSON object", item="body")
    if request.headers.get("content-type", "").lower().startswith(_MERGE_PATCH):
        return lambda payload: merged(payload, document)
    return lambda _: document
