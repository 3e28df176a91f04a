"""Reading the multipart form of an upload, with typed errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from aff_contracts.errors import InvalidParameterError, TooManyImagesError


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """One file of a form; `name` is the file name that the caller sent, None where none was."""

    name: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class UploadForm:
    """The parts of a multipart form by field name, in the order in which they came."""

    parts: Mapping[str, Sequence[UploadedFile | str]]

    def files(self, field: str) -> list[UploadedFile]:
        """Return the files of a repeated field; none is an empty list.

        Raises:
            InvalidParameterError: One of the parts is text.
        """
        parts = self.parts.get(field, ())
        files = [part for part in parts if isinstance(part, UploadedFile)]
        if len(files) < len(parts):
            raise InvalidParameterError("a text part where a file is expected: send a filename", item=field)
        return files

    def text(self, field: str) -> str | None:
        """Return the text of a field that stands at most once; None where it is absent.

        A file part is read as UTF-8 text, since many clients send JSON that way.

        Raises:
            InvalidParameterError: The field is repeated, or is not UTF-8.
        """
        parts = self.parts.get(field, ())
        if len(parts) > 1:
            raise InvalidParameterError(f"{len(parts)} parts where one is expected", item=field)
        if not parts:
            return None
        part = parts[0]
        try:
            return part.data.decode() if isinstance(part, UploadedFile) else part
        except UnicodeDecodeError as error:
            raise InvalidParameterError("not UTF-8 text", item=field) from error


def is_form(request: Request) -> bool:
    """Say whether the body is a multipart form, rather than the upload itself."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def read_form(request: Request, *, max_files: int, max_text_bytes: int) -> UploadForm:
    """Read a multipart form into memory; the limit on the body bounds its size.

    Args:
        request: A request of which `is_form` holds.
        max_files: Most file parts.
        max_text_bytes: Largest text part.

    Raises:
        TooManyImagesError: More than `max_files` file parts.
        BodyTooLargeError: The body is over the service's limit.
        HTTPException: Not a well-formed form, or too large a text; the service answers `request_malformed`.
    """
    parts: dict[str, list[UploadedFile | str]] = {}
    try:
        async with request.form(max_files=max_files, max_part_size=max_text_bytes) as form:
            for field, value in form.multi_items():
                parts.setdefault(_encodable(field), []).append(await _part(value))
    except HTTPException as error:
        # Starlette tells this case from a malformed form by its words alone.
        if error.detail.startswith("Too many files"):
            raise TooManyImagesError(f"at most {max_files} files in one request") from error
        raise
    return UploadForm(parts)


async def _part(value: UploadFile | str) -> UploadedFile | str:
    if isinstance(value, str):
        return value
    return UploadedFile(_encodable(value.filename or "") or None, await value.read())


def _encodable(name: str) -> str:
    """Replace what UTF-8 cannot encode: a charset of the caller's choice can bring lone surrogates."""
    return name.encode(errors="replace").decode()
