from __future__ import annotations

import grpc
import httpx
import pytest
from qdrant_client.http.exceptions import UnexpectedResponse

from aff_shared.errors import (
    AffError,
    GalleryMissingError,
    StoreError,
    StoreRefusalError,
    StoreRejectedError,
    StoreRequestTooLargeError,
    StoreThrottledError,
    StoreUnavailableError,
)
from aff_shared.store.server.errors import error_of_grpc_code, error_of_http_status, translated

TRANSIENT = {"CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "UNAVAILABLE"}
FAILED = {"UNKNOWN", "INTERNAL", "DATA_LOSS"}
OF_THE_REQUEST = {"INVALID_ARGUMENT", "OUT_OF_RANGE"}


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_grpc_status_has_an_error(code: grpc.StatusCode) -> None:
    expected: type[AffError] = StoreRejectedError
    if code.name in TRANSIENT:
        expected = StoreUnavailableError
    elif code.name in OF_THE_REQUEST:
        expected = StoreRefusalError
    elif code.name in FAILED:
        expected = StoreError
    elif code.name == "NOT_FOUND":
        expected = GalleryMissingError
    assert error_of_grpc_code(code) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, StoreRefusalError),
        (401, StoreRejectedError),
        (403, StoreRejectedError),
        (404, GalleryMissingError),
        (408, StoreUnavailableError),
        (409, StoreRejectedError),
        (413, StoreRequestTooLargeError),
        (422, StoreRefusalError),
        (429, StoreUnavailableError),
        (500, StoreError),
        (501, StoreError),
        (502, StoreUnavailableError),
        (503, StoreUnavailableError),
        (504, StoreUnavailableError),
        (None, StoreError),
    ],
)
def test_every_http_status_has_an_error(status: int | None, expected: type[AffError]) -> None:
    assert error_of_http_status(status) is expected


@pytest.mark.parametrize(("asked", "seconds"), [("Retry after 16s", 16), ("Retry after 0s", 1)])
def test_a_rate_limit_is_waited_for_a_second_at_least(asked: str, seconds: int) -> None:
    limited = UnexpectedResponse(429, "Too Many Requests", f"Rate limit exceeded. {asked}".encode(), httpx.Headers())
    error = translated(limited, "qdrant")
    assert isinstance(error, StoreThrottledError)
    assert error.retry_after_s == seconds
