"""Typed clients of both services for Python; installed with `pip install ./shared ./client`."""

from aff_client.answers import ForeignAnswerError, ServiceError, ServiceUnreachableError, ServiceUrlError
from aff_client.search_client import AsyncSearchClient, SearchClient

__all__ = [
    "AsyncSearchClient",
    "ForeignAnswerError",
    "SearchClient",
    "ServiceError",
    "ServiceUnreachableError",
    "ServiceUrlError",
]
