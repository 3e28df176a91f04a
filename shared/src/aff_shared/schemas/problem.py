"""Problem details (RFC 9457), the body of every error answer."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

from aff_shared.errors import AffError, ImageError, RequestError
from aff_shared.schemas import examples

PROBLEM_MEDIA_TYPE = "application/problem+json"

_PATH = re.compile(r"(?<![\w:/.])(?:~|\.{1,2})?(?:/[^\s/'\"():,;]+)+/?")


class Problem(BaseModel):
    """RFC 9457 members, with two of ours.

    Attributes:
        type: URN of the kind of problem, derived from `code`.
        code: Stable identifier that programs may match on.
        item: Name of what is at fault: a file name, an item id, a parameter.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.PROBLEM))

    type: str
    title: str
    status: int
    detail: str
    code: str
    item: str | None = None


def problem_of(error: AffError, *, local: bool = False) -> Problem:
    """Describe an error of the tree to a caller.

    Args:
        error: What happened.
        local: Whether the caller is on this machine; else paths are cut down to their last part, for where a service
            keeps its files concerns nobody else. What is wrong with a request is told as it is: it is the caller's own.
    """
    told = local or isinstance(error, RequestError | ImageError)
    return Problem(
        type=f"urn:aff:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail if told else _without_directories(error.detail),
        code=error.code,
        item=error.item if told or error.item is None else _without_directories(error.item),
    )


def _without_directories(text: str) -> str:
    return _PATH.sub(lambda path: path[0].rstrip("/").rpartition("/")[2], text)
