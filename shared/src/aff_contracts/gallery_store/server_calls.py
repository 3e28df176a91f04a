"""Calls to a Qdrant server: repeated where it may help, and with foreign exceptions translated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import grpc
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from aff_contracts.errors import StoreError, StoreRejectedError, StoreUnavailableError
from aff_contracts.gallery_store.retry import retry_unavailable
from aff_contracts.gallery_store.server_errors import error_of_grpc_code, error_of_http_status
from aff_contracts.gallery_store.settings import StoreSettings

_Result = TypeVar("_Result")

_REST_PORT = 6333


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
            raise _translated(error, settings) from error

    return await retry_unavailable(attempt, max_retries=settings.max_retries, backoff_s=settings.retry_backoff_s)


def _translated(error: Exception, settings: StoreSettings) -> StoreError:
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
    return kind(f"Qdrant server {_tried(error, settings)}: {detail or type(error).__name__}")


def _tried(error: Exception, settings: StoreSettings) -> str:
    """Return host and port that a call went to."""
    address = urlsplit(settings.url)
    over_rest = isinstance(error, ApiException) or not settings.prefer_grpc
    port = (address.port or _REST_PORT) if over_rest else settings.grpc_port
    host = address.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
