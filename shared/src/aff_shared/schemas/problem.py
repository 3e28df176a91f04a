"""Problem details (RFC 9457), the body of every error answer."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

from aff_shared.errors import AffError, ImageError, RequestError
from aff_shared.schemas import examples

PROBLEM_MEDIA_TYPE = "application/problem+json"

_PATH = re.compile(r"(?<![\w:/.])(?:~|\.{1,2})?(?:/[^\s/'\"():,;]+)+/?")


class Problem(BaseModel):
    """RFC 9457 members, and two additional ones.

    Attributes:
        type: URN of the kind of problem, derived from `code`.
        code: Stable identifier that programs may match on.
        item: Name of the cause: a file name, an item id, a parameter.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.PROBLEM))

    type: str
    title: str
    status: int
    detail: str
    code: str
    item: str | None = None


def problem_of(error: AffError, *, local: bool = False) -> Problem:
    """Return the problem details of an error.

    Args:
        error: Cause.
        local: Whether the caller is on this machine; otherwise paths are shortened to their last part, to hide the
            service's directories. Details of request and image errors are not shortened: they are the caller's own.
    """
    is_full = local or isinstance(error, RequestError | ImageError)
    return Problem(
        type=f"urn:aff:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail if is_full else _without_directories(error.detail),
        code=error.code,
        item=error.item if is_full or error.item is None else _without_directories(error.item),
    )


def _without_directories(text: str) -> str:
    return _PATH.sub(lambda path: path[0].rstrip("/").rpartition("/")[2], text)
