"""Reading the multipart form of an upload, with typed errors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from aff_shared.errors import ContentEncodingError, InvalidParameterError, RequestError, TooManyImagesError


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """One file of a form; `name` is the file name, None if it was not sent."""

    name: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class UploadForm:
    """The parts of a multipart form by field name, in the order of the request."""

    parts: Mapping[str, Sequence[UploadedFile | str]]

    def files(self, field: str) -> list[UploadedFile]:
        """Return the files of a repeatable field, possibly empty."""
        return [part for part in self.parts.get(field, ()) if isinstance(part, UploadedFile)]

    def text(self, field: str) -> str | None:
        """Return the text of a field that may be sent once; None if it is absent.

        Raises:
            InvalidParameterError: The field is repeated, or is not UTF-8.
        """
        texts = self.texts(field)
        if len(texts) > 1:
            raise InvalidParameterError(f"{len(texts)} parts where one is expected", item=field)
        return texts[0] if texts else None

    def texts(self, field: str) -> list[str]:
        """Return the texts of a repeatable field, possibly empty.

        A file part is read as UTF-8 text, since many clients send JSON that way.

        Raises:
            InvalidParameterError: One is not UTF-8.
        """
        parts = self.parts.get(field, ())
        try:
            return [part.data.decode() if isinstance(part, UploadedFile) else part for part in parts]
        except UnicodeDecodeError as error:
            raise InvalidParameterError("not UTF-8 text", item=field) from error


def is_form(request: Request) -> bool:
    """Return whether the body is a multipart form, rather than the upload itself."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def read_form(request: Request, *, file_field: str, max_files: int, max_text_bytes: int) -> UploadForm:
    """Read a multipart form into memory; the limit on the body bounds its size.

    Args:
        request: A request of which `is_form` holds.
        file_field: Field whose parts are files.
        max_files: Maximum number of file parts.
        max_text_bytes: Maximum size of a text part.

    Raises:
        InvalidParameterError: A part of `file_field` has no filename.
        TooManyImagesError: More than `max_files` file parts.
        BodyTooLargeError: The body is over the service's limit.
        RequestError: Not a well-formed form, one that did not end, or too large a text.
    """
    parser = UploadFormParser(request, file_field=file_field, max_files=max_files, max_text_bytes=max_text_bytes)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        # Starlette distinguishes this case from a malformed form only by its message.
        if error.message.startswith("Too many files"):
            raise TooManyImagesError(f"at most {max_files} files in one request") from error
        raise RequestError(_described(error)) from error
    parts: dict[str, list[UploadedFile | str]] = {}
    try:
        for field, value in form.multi_items():
            parts.setdefault(_encodable(field), []).append(await _part(value))
    finally:
        await form.close()
    return UploadForm(parts)


def _described(error: MultiPartException) -> str:
    return f"not a well-formed form: {error.__cause__}" if error.__cause__ is not None else error.message


async def _part(value: UploadFile | str) -> UploadedFile | str:
    if isinstance(value, str):
        return value
    return UploadedFile(_encodable(value.filename or "") or None, await value.read())


def _encodable(name: str) -> str:
    """Replace characters that UTF-8 cannot encode: a charset of the caller may result in lone surrogates."""
    return name.encode(errors="replace").decode()


_AS_IT_IS = frozenset({"", "7bit", "8bit", "binary"})


class UploadFormParser(MultiPartParser):
    """Parser of a request's form: it may start with a preamble, and has to end with its closing boundary.

    Args:
        request: Request with the form as its body.
        file_field: Field whose parts are files: a part without a filename is rejected before its content is read.
        max_files: Maximum number of file parts.
        max_text_bytes: Maximum size of a text part.
    """

    def __init__(self, request: Request, *, file_field: str, max_files: int, max_text_bytes: int) -> None:
        _, parameters = parse_options_header(request.headers.get("content-type"))
        body = self._body(request.stream(), b"--" + parameters.get(b"boundary", b""))
        super().__init__(request.headers, body, max_files=max_files, max_part_size=max_text_bytes)
        self._file_field = file_field
        self._ended = False

    def on_headers_finished(self) -> None:
        """Start a part; a file needs a filename, and its content unencoded.

        Raises:
            InvalidParameterError: The file has no filename.
            ContentEncodingError: The file is encoded, such as base64 in mails.
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
            detail = f"the file is encoded as {encoding} (Content-Transfer-Encoding): send it without an encoding"
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
            raise MultiPartException("the form ended before its closing boundary, and was rejected as a whole")
