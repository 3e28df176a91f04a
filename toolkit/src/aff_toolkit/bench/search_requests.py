"""Searches by photograph, as bytes of HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from aff_toolkit.bench.load import http_request


def raw_requests(photographs: Sequence[bytes]) -> list[bytes]:
    """Return searches with the photograph as the body."""
    return [http_request("/search", photograph, "image/jpeg") for photograph in photographs]


def form_requests(photographs: Sequence[bytes]) -> list[bytes]:
    """Return searches with the photograph as the field `image` of a form."""
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="photograph.jpg"\r\n\r\n'
    return [
        http_request("/search", head + photograph + b"\r\n--b--\r\n", "multipart/form-data; boundary=b")
        for photograph in photographs
    ]
