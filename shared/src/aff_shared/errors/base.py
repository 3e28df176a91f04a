"""The root of the error tree."""

from __future__ import annotations

from typing import ClassVar


class AffError(Exception):
    """Root of the tree.

    Attributes:
        code: Stable identifier that programs may match on.
        status: HTTP status that a service answers with.
        title: Short summary that is the same for every occurrence.
        detail: What happened this time, in words for the person who can mend it.
        item: Name of what is at fault: a file name, an item id, a parameter.
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
