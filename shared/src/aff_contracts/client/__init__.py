"""Typed clients of the query service, for Python: `pip install 'aff-contracts[client]'`."""

from aff_contracts.client.answers import ForeignAnswerError, ServiceError, ServiceUnreachableError
from aff_contracts.client.search_client import AsyncSearchClient, SearchClient
from aff_contracts.client.service_url import ServiceUrlError

__all__ = [
    "AsyncSearchClient",
    "ForeignAnswerError",
    "SearchClient",
    "ServiceError",
    "ServiceUnreachableError",
    "ServiceUrlError",
]
