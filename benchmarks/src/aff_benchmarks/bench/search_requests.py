"""Searches by photograph and forms, as bytes of HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from aff_benchmarks.bench.load import http_request

_BOUNDARY = "aff-bench-load"
MULTIPART = f"multipart/form-data; boundary={_BOUNDARY}"


def raw_requests(photographs: Sequence[bytes]) -> list[bytes]:
    """Return searches with the photograph as the body."""
    return [http_request("/search", photograph, "image/jpeg") for photograph in photographs]


def form_requests(photographs: Sequence[bytes]) -> list[bytes]:
    """Return searches with the photograph as the field `image` of a form."""
    return [
        http_request("/search", multipart([("image", "photograph.jpg", photograph)]), MULTIPART)
        for photograph in photographs
    ]


def multipart(parts: Sequence[tuple[str, str | None, bytes]]) -> bytes:
    """Return a form, of the content type MULTIPART, of fields, their file names or None, and their contents."""
    lines = []
    for field, name, content in parts:
        file_name = "" if name is None else f'; filename="{name}"'
        disposition = f'Content-Disposition: form-data; name="{field}"{file_name}'
        lines.append(f"--{_BOUNDARY}\r\n{disposition}\r\n\r\n".encode() + content)
    return b"\r\n".join([*lines, f"--{_BOUNDARY}--\r\n".encode()])
