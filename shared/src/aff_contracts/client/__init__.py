"""Typed clients of the query service, for Python: `pip install 'aff-contracts[client]'`."""

from aff_contracts.client.answers import ServiceError, ServiceUnreachableError
from aff_contracts.client.search_client import AsyncSearchClient, SearchClient

__all__ = ["AsyncSearchClient", "SearchClient", "ServiceError", "ServiceUnreachableError"]
