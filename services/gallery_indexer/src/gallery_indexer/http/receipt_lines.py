"""Receipts as newline-delimited JSON, sent while the request is processed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any, Self

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from aff_shared.errors import AffError
from aff_shared.schemas.indexing import IndexLine, IndexSummary, Receipt
from aff_shared.schemas.problem import problem_of
from aff_shared.web.routing import reference

_MEDIA_TYPE = "application/x-ndjson"

RECEIPT_LINES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A receipt per image; as lines of one `IndexLine` each if the client accepts them.",
        "content": {_MEDIA_TYPE: {"schema": reference(IndexLine)}},
    }
}
"""OpenAPI description of the response."""

_logger = logging.getLogger(__name__)


def accepts_lines(request: Request) -> bool:
    """Return whether the client accepts newline-delimited JSON."""
    return _MEDIA_TYPE in request.headers.get("accept", "").lower()


def summed(receipts: Iterable[Receipt]) -> IndexSummary:
    """Count receipts by their status."""
    return _summary(Counter(receipt.status for receipt in receipts))


class ReceiptLines(StreamingResponse):
    """A response with one IndexLine per line.

    Args:
        first: The first receipt.
        others: The other receipts; closed when the response ends, also if it fails.
    """

    def __init__(self, first: Receipt, others: AsyncGenerator[Receipt, None]) -> None:
        super().__init__(_lines(first, others), media_type=_MEDIA_TYPE)
        self._receipts = others

    @classmethod
    async def begin(cls, receipts: AsyncGenerator[Receipt, None]) -> Self:
        """Wait for the first receipt, so that a request that fails before it has the status of its error.

        Raises:
            StoreError: The store failed before the first receipt.
        """
        return cls(await anext(receipts), receipts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines; if the client disconnects, the remaining images are cancelled."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._receipts.aclose()


async def _lines(first: Receipt, others: AsyncGenerator[Receipt, None]) -> AsyncGenerator[bytes, None]:
    statuses = Counter[str]([first.status])
    yield _line(IndexLine(receipt=first))
    try:
        async for receipt in others:
            statuses[receipt.status] += 1
            yield _line(IndexLine(receipt=receipt))
    except AffError as error:
        _logger.warning("indexing stopped early: %s", error)
        yield _line(IndexLine(problem=problem_of(error)))
    else:
        yield _line(IndexLine(summary=_summary(statuses)))


def _summary(statuses: Mapping[str, int]) -> IndexSummary:
    return IndexSummary(
        indexed=statuses["indexed"],
        updated=statuses["updated"],
        duplicate=statuses["duplicate"],
        rejected=statuses["rejected"],
    )


def _line(line: IndexLine) -> bytes:
    return line.model_dump_json(exclude_none=True).encode(errors="replace") + b"\n"
