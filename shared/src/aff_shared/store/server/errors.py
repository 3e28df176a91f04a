"""Translates a Qdrant server's responses and its client's exceptions into the error tree."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import grpc
from grpc import StatusCode
from pydantic_core import from_json
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from aff_shared.errors import (
    AffError,
    GalleryMissingError,
    InvalidFilterError,
    StoreError,
    StoreRefusalError,
    StoreRejectedError,
    StoreRequestTooLargeError,
    StoreThrottledError,
    StoreUnavailableError,
)

_BY_GRPC_CODE: dict[StatusCode, type[AffError]] = {
    StatusCode.CANCELLED: StoreUnavailableError,
    StatusCode.UNKNOWN: StoreError,
    StatusCode.INVALID_ARGUMENT: StoreRefusalError,
    StatusCode.DEADLINE_EXCEEDED: StoreUnavailableError,
    StatusCode.NOT_FOUND: GalleryMissingError,
    StatusCode.ALREADY_EXISTS: StoreRejectedError,
    StatusCode.PERMISSION_DENIED: StoreRejectedError,
    StatusCode.UNAUTHENTICATED: StoreRejectedError,
    StatusCode.RESOURCE_EXHAUSTED: StoreUnavailableError,
    StatusCode.FAILED_PRECONDITION: StoreRejectedError,
    StatusCode.ABORTED: StoreUnavailableError,
    StatusCode.OUT_OF_RANGE: StoreRefusalError,
    StatusCode.UNIMPLEMENTED: StoreRejectedError,
    StatusCode.INTERNAL: StoreError,
    StatusCode.UNAVAILABLE: StoreUnavailableError,
    StatusCode.DATA_LOSS: StoreError,
}
_BY_HTTP_STATUS: dict[int, type[AffError]] = {
    HTTPStatus.BAD_REQUEST: StoreRefusalError,
    HTTPStatus.NOT_FOUND: GalleryMissingError,
    HTTPStatus.REQUEST_TIMEOUT: StoreUnavailableError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: StoreRequestTooLargeError,
    HTTPStatus.UNPROCESSABLE_ENTITY: StoreRefusalError,
    HTTPStatus.TOO_MANY_REQUESTS: StoreUnavailableError,
    HTTPStatus.BAD_GATEWAY: StoreUnavailableError,
    HTTPStatus.SERVICE_UNAVAILABLE: StoreUnavailableError,
    HTTPStatus.GATEWAY_TIMEOUT: StoreUnavailableError,
}
# The words of the server, the same over REST and gRPC.
_TOO_LARGE = "request larger than rate limiter capacity"
_RETRY_AFTER = re.compile(r"Retry after (\d+)s")
_NO_INDEX = re.compile(r'Index required but not found for "payload\.(.+)" of one of the following types: \[(\w+)')
_NO_ORDER = re.compile(r"(?:range index for `order_by`|index for faceting)[^`]*`([^`]+)`")
_LIMIT = re.compile(r'Limit exceeded (\S+) > (\S+) for "([^"]+)"')
_SHOWN_CHARACTERS = 500
_SETTING_OF_LIMIT = {"hnsw_ef": "QDRANT_SEARCH_EF", "oversampling": "QDRANT_OVERSAMPLING"}


def translated(error: Exception, server: str) -> AffError:
    """Return the error of the tree for a failed call.

    Args:
        error: Exception of Qdrant's client, or a timeout.
        server: Name of the server, for the detail.
    """
    reason = _reason(error)
    if isinstance(error, ResourceExhaustedResponse):
        return _throttled(reason, server, error.retry_after_s)
    kind = _kind(error)
    if kind is StoreUnavailableError and (requested := _RETRY_AFTER.search(reason)):
        return _throttled(reason, server, int(requested[1]))
    if kind is StoreUnavailableError and _TOO_LARGE in reason:
        return StoreRequestTooLargeError(f"{server}: {reason}")
    if kind is StoreRefusalError:
        return _rejection(reason, server)
    return kind(f"{server}: {reason}")


def is_over_rest(error: Exception) -> bool:
    """Return whether an exception is one of the client's REST interface."""
    return isinstance(error, ApiException)


def error_of_grpc_code(code: StatusCode) -> type[AffError]:
    """Return the error that a gRPC status stands for; every status but OK has one."""
    return _BY_GRPC_CODE[code]


def error_of_http_status(status: int | None) -> type[AffError]:
    """Return the error that an HTTP status of the REST interface stands for."""
    if status in _BY_HTTP_STATUS:
        return _BY_HTTP_STATUS[status]
    is_rejection = status is not None and status < HTTPStatus.INTERNAL_SERVER_ERROR
    return StoreRejectedError if is_rejection else StoreError


def _kind(error: Exception) -> type[AffError]:
    if isinstance(error, grpc.aio.AioRpcError):
        return error_of_grpc_code(error.code())
    if isinstance(error, UnexpectedResponse):
        return error_of_http_status(error.status_code)
    if isinstance(error, ApiException | QdrantException | OSError):  # undelivered, timed out
        return StoreUnavailableError
    if isinstance(error, ValueError | TypeError):  # the client rejects it
        return StoreRejectedError
    return StoreError


def _reason(error: Exception) -> str:
    """Return the server's own words where it has answered."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error.details() or error.code().name
    if isinstance(error, UnexpectedResponse):
        return f"{error.status_code} {error.reason_phrase}: {_message(error.content)}"
    return str(error) or type(error).__name__


def _message(body: bytes) -> str:
    try:
        answer: Any = from_json(body)
        return str(answer["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return body[:_SHOWN_CHARACTERS].decode(errors="replace")


def _throttled(reason: str, server: str, retry_after_s: int) -> StoreThrottledError:
    return StoreThrottledError(
        f"{server}: {reason}", retry_after_s=max(1, retry_after_s)
    )  # 0 would be retried immediately


def _rejection(reason: str, server: str) -> AffError:
    """Return the error of a rejected request, with the key or limit and the setting that fixes it."""
    if found := _NO_INDEX.search(reason):
        key, kind = found.groups()
        return InvalidFilterError(
            f"the gallery's server filters by indexed keys alone: add {key!r} with its type to the indexer's "
            f'QDRANT_PAYLOAD_SCHEMA, such as {{"{key}": "{kind}"}}, and restart it',
            item=key,
        )
    if found := _NO_ORDER.search(reason):
        return StoreRejectedError(
            f"the gallery has no index of {found[1]!r}, which a gallery indexer of this release and with the same "
            "QDRANT_PAYLOAD_SCHEMA creates: restart it"
        )
    if found := _LIMIT.search(reason):
        requested, allowed, name = found.groups()
        setting = _SETTING_OF_LIMIT.get(name)
        remedy = f"set {setting}={allowed}" if setting else "request less, or raise the collection's limit"
        return StoreRefusalError(
            f"{requested} is more than the {allowed} that the strict mode of the gallery's server allows: {remedy}",
            item=name,
        )
    if "Exact search disabled" in reason:
        return StoreRefusalError("the strict mode of the gallery's server has exact search disabled", item="exact")
    return StoreRefusalError(f"{server}: {reason}")
