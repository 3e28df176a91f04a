"""The root of the error tree."""

from __future__ import annotations

from typing import ClassVar


class AffError(Exception):
    """Root of the tree.

    Attributes:
        code: Stable identifier that programs may match on.
        status: HTTP status of a service's response.
        title: Short summary, the same for every occurrence.
        detail: Cause of this occurrence, for the person who can fix it.
        item: Name of the cause: a file name, an item id, a parameter.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, item: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.item = item

    def __str__(self) -> str:
        return f"{self.item}: {self.detail}" if self.item else self.detail
