from __future__ import annotations

import grpc
import pytest

from aff_contracts.errors import GalleryMissingError, StoreError, StoreRejectedError, StoreUnavailableError
from aff_contracts.gallery_store.server_errors import error_of_grpc_code, error_of_http_status

TRANSIENT = {"CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "UNAVAILABLE"}
FAILED = {"UNKNOWN", "INTERNAL", "DATA_LOSS"}


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_grpc_status_stands_for_an_error(code: grpc.StatusCode) -> None:
    expected: type[StoreError] = StoreRejectedError
    if code.name in TRANSIENT:
        expected = StoreUnavailableError
    elif code.name in FAILED:
        expected = StoreError
    elif code.name == "NOT_FOUND":
        expected = GalleryMissingError
    assert error_of_grpc_code(code) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, StoreRejectedError),
        (401, StoreRejectedError),
        (403, StoreRejectedError),
        (404, GalleryMissingError),
        (408, StoreUnavailableError),
        (409, StoreRejectedError),
        (413, StoreRejectedError),
        (422, StoreRejectedError),
        (429, StoreUnavailableError),
        (500, StoreError),
        (501, StoreError),
        (502, StoreUnavailableError),
        (503, StoreUnavailableError),
        (504, StoreUnavailableError),
        (None, StoreError),
    ],
)
def test_every_http_status_stands_for_an_error(status: int | None, expected: type[StoreError]) -> None:
    assert error_of_http_status(status) is expected
