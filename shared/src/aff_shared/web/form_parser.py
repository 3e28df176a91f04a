"""Starlette's parser of multipart forms, where it takes less than RFC 2046 allows, and more than was sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.formparsers import MultiPartException, MultiPartParser

from aff_shared.errors import ContentEncodingError, InvalidParameterError

_AS_IT_IS = frozenset({"", "7bit", "8bit", "binary"})


class UploadFormParser(MultiPartParser):
    """Parses the form of a request: it may begin with a preamble, and has to end with its closing boundary.

    Args:
        request: With the form as its body.
        file_field: Field whose parts are files: one without a filename is refused before its content is read.
        max_files: Most file parts.
        max_text_bytes: Largest text part.
    """

    def __init__(self, request: Request, *, file_field: str, max_files: int, max_text_bytes: int) -> None:
        _, parameters = parse_options_header(request.headers.get("content-type"))
        body = self._body(request.stream(), b"--" + parameters.get(b"boundary", b""))
        super().__init__(request.headers, body, max_files=max_files, max_part_size=max_text_bytes)
        self._file_field = file_field
        self._ended = False

    def on_headers_finished(self) -> None:
        """Begin a part; of the field of files, it needs a filename, and its content as it is.

        Raises:
            InvalidParameterError: It has no filename.
            ContentEncodingError: It is sent as base64, as in mails.
        """
        super().on_headers_finished()
        part = self._current_part
        if part.field_name != self._file_field:
            return
        if part.file is None:
            instead = ", not filename* alone (RFC 7578)" if b"filename*" in (part.content_disposition or b"") else ""
            detail = f"a text part where a file is expected: send a filename{instead}"
            raise InvalidParameterError(detail, item=self._file_field)
        encoding = dict(part.item_headers).get(b"content-transfer-encoding", b"binary").decode("latin-1").strip()
        if encoding.lower() not in _AS_IT_IS:
            detail = f"the file is encoded as {encoding} (Content-Transfer-Encoding): send it as it is"
            raise ContentEncodingError(detail, item=self._file_field)

    def on_end(self) -> None:
        """Note the closing boundary."""
        self._ended = True

    async def _body(self, stream: AsyncGenerator[bytes, None], delimiter: bytes) -> AsyncGenerator[bytes, None]:
        """Yield the body from its first delimiter on, which begins the body or a line of it."""
        held = b"\n"
        async for chunk in stream:
            held += chunk
            start = held.find(b"\n" + delimiter)
            if start >= 0:
                yield held[start + 1 :]
                break
            held = held[-len(delimiter) :]
        async for chunk in stream:
            yield chunk
        if not self._ended:  # what is missing may be half of an image
            raise MultiPartException("the form ended before its closing boundary; nothing of it was taken")
