"""Calls to a Qdrant server: repeated where it may help, and with foreign exceptions translated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from aff_contracts.errors import StoreError, StoreRejectedError, StoreUnavailableError
from aff_contracts.gallery_store.retry import retry_unavailable
from aff_contracts.gallery_store.server_errors import error_of_grpc_code, error_of_http_status
from aff_contracts.gallery_store.settings import StoreSettings

_Result = TypeVar("_Result")


async def call_server(settings: StoreSettings, request: Callable[[], Awaitable[_Result]]) -> _Result:
    """Await a request, all of which may be repeated; foreign exceptions end here.

    Raises:
        StoreError: The server refused it, or could not be reached after the last retry.
    """

    async def attempt() -> _Result:
        try:
            async with asyncio.timeout(settings.timeout_s):
                return await request()
        except Exception as error:
            raise _translated(error) from error

    return await retry_unavailable(attempt, max_retries=settings.max_retries, backoff_s=settings.retry_backoff_s)


def _translated(error: Exception) -> StoreError:
    kind: type[StoreError] = StoreError
    if isinstance(error, grpc.aio.AioRpcError):
        kind = error_of_grpc_code(error.code())
    elif isinstance(error, UnexpectedResponse):
        kind = error_of_http_status(error.status_code)
    elif isinstance(error, ApiException | QdrantException | OSError):  # undelivered, throttled, timed out
        kind = StoreUnavailableError
    elif isinstance(error, ValueError | TypeError):  # the client refuses to send it
        kind = StoreRejectedError
    detail = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
    return kind(f"Qdrant server: {detail or type(error).__name__}")
