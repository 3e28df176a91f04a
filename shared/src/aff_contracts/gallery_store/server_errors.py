"""What a Qdrant server's refusals mean: from gRPC status codes and HTTP statuses to the error tree."""

from __future__ import annotations

from http import HTTPStatus

from grpc import StatusCode

from aff_contracts.errors import (
    GalleryMissingError,
    StoreError,
    StoreRejectedError,
    StoreUnavailableError,
)

_BY_GRPC_CODE: dict[StatusCode, type[StoreError]] = {
    StatusCode.CANCELLED: StoreUnavailableError,
    StatusCode.UNKNOWN: StoreError,
    StatusCode.INVALID_ARGUMENT: StoreRejectedError,
    StatusCode.DEADLINE_EXCEEDED: StoreUnavailableError,
    StatusCode.NOT_FOUND: GalleryMissingError,
    StatusCode.ALREADY_EXISTS: StoreRejectedError,
    StatusCode.PERMISSION_DENIED: StoreRejectedError,
    StatusCode.UNAUTHENTICATED: StoreRejectedError,
    StatusCode.RESOURCE_EXHAUSTED: StoreUnavailableError,
    StatusCode.FAILED_PRECONDITION: StoreRejectedError,
    StatusCode.ABORTED: StoreUnavailableError,
    StatusCode.OUT_OF_RANGE: StoreRejectedError,
    StatusCode.UNIMPLEMENTED: StoreRejectedError,
    StatusCode.INTERNAL: StoreError,
    StatusCode.UNAVAILABLE: StoreUnavailableError,
    StatusCode.DATA_LOSS: StoreError,
}

_BY_HTTP_STATUS: dict[int, type[StoreError]] = {
    HTTPStatus.NOT_FOUND: GalleryMissingError,
    HTTPStatus.REQUEST_TIMEOUT: StoreUnavailableError,
    HTTPStatus.TOO_MANY_REQUESTS: StoreUnavailableError,
    HTTPStatus.BAD_GATEWAY: StoreUnavailableError,
    HTTPStatus.SERVICE_UNAVAILABLE: StoreUnavailableError,
    HTTPStatus.GATEWAY_TIMEOUT: StoreUnavailableError,
}


def error_of_grpc_code(code: StatusCode) -> type[StoreError]:
    """Return the error that a gRPC status stands for; every status but OK has one."""
    return _BY_GRPC_CODE[code]


def error_of_http_status(status: int | None) -> type[StoreError]:
    """Return the error that an HTTP status of the REST interface stands for."""
    if status in _BY_HTTP_STATUS:
        return _BY_HTTP_STATUS[status]
    is_refusal = status is not None and status < HTTPStatus.INTERNAL_SERVER_ERROR
    return StoreRejectedError if is_refusal else StoreError
