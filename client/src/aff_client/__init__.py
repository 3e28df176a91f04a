"""Typed clients of both services for Python, with httpx and pydantic only: `pip install ./shared ./client`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aff_client.answers import (
    AccessError,
    BusyError,
    ForeignAnswerError,
    NotFoundError,
    ServiceError,
    ServiceUnreachableError,
    ServiceUrlError,
)
from aff_client.search_client import AsyncSearchClient, SearchClient

if TYPE_CHECKING:
    from aff_client.index_calls import Upload, png_of
    from aff_client.index_client import AsyncIndexerClient, IndexerClient

__all__ = [
    "AccessError",
    "AsyncIndexerClient",
    "AsyncSearchClient",
    "BusyError",
    "ForeignAnswerError",
    "IndexerClient",
    "NotFoundError",
    "SearchClient",
    "ServiceError",
    "ServiceUnreachableError",
    "ServiceUrlError",
    "Upload",
    "png_of",
]

_INDEXING = {
    "AsyncIndexerClient": "aff_client.index_client",
    "IndexerClient": "aff_client.index_client",
    "Upload": "aff_client.index_calls",
    "png_of": "aff_client.index_calls",
}


def __getattr__(name: str) -> Any:
    """Import what indexing needs when it is used: a program that only searches starts 0.1 s sooner."""
    if name not in _INDEXING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_INDEXING[name]), name)
