"""Typed clients of both services for Python, with httpx and pydantic only: `pip install ./shared ./client`."""

from aff_client.answers import (
    AccessError,
    BusyError,
    ForeignAnswerError,
    NotFoundError,
    ServiceError,
    ServiceUnreachableError,
    ServiceUrlError,
)
from aff_client.index_calls import Upload, png_of
from aff_client.index_client import AsyncIndexerClient, IndexerClient
from aff_client.search_client import AsyncSearchClient, SearchClient

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
