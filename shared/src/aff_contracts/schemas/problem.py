"""Problem details (RFC 9457), the body of every error answer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from aff_contracts.errors import AffError
from aff_contracts.schemas import examples

PROBLEM_MEDIA_TYPE = "application/problem+json"


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


def problem_of(error: AffError) -> Problem:
    """Describe an error of the tree to a caller."""
    return Problem(
        type=f"urn:aff:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        item=error.item,
    )
