"""The bytes of a photograph's file on this machine."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from aff_shared.errors import AffError, ImageTooManyBytesError, InvalidParameterError
from aff_shared.images.decoding import ImageLimits

_SETTING = "AFF_MAX_IMAGE_BYTES"


class PhotographUnreadableError(AffError):
    """A photograph's file is missing, may not be read, or is not a regular file."""

    code = "photograph_unreadable"
    status = 422
    title = "Unreadable photograph"


def max_image_bytes() -> int:
    """Return the size of the largest image file that is read: AFF_MAX_IMAGE_BYTES, by default the services' limit.

    Raises:
        InvalidParameterError: The setting is not a number of bytes.
    """
    given = os.environ.get(_SETTING) or str(ImageLimits().max_image_bytes)
    if not given.isdecimal():
        raise InvalidParameterError(f"{given!r} is not a number of bytes", item=_SETTING)
    return int(given)


def read_photograph(path: Path) -> bytes:
    """Return the bytes of an image file.

    Nothing but regular files is opened: a pipe may never answer, and a device never end. The size is looked at before
    anything is read.

    Args:
        path: The file, or a link to it.

    Raises:
        PhotographUnreadableError: The file is missing, may not be read, or is not a regular file.
        ImageTooManyBytesError: It is larger than max_image_bytes.
    """
    most = max_image_bytes()
    try:
        size = regular_file_size(path)
        if size > most:
            raise too_many_bytes(str(path), size)
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PhotographUnreadableError(f"cannot be read: {reason}", item=str(path)) from error
    if len(data) > most:  # it grew, or hides its size as those of /proc do
        raise too_many_bytes(str(path))
    return data


def regular_file_size(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises:
        OSError: It is missing, or a folder, pipe, socket or device.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise OSError("is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise OSError("is not a regular file but a pipe, socket or device")
    return status.st_size


def too_many_bytes(item: str, size: int | None = None) -> ImageTooManyBytesError:
    """Return the error of a file that is larger than max_image_bytes; its size may be unknown."""
    has = "" if size is None else f"{size:,} bytes, "
    return ImageTooManyBytesError(f"{has}more than the {max_image_bytes():,} bytes of {_SETTING}", item=item)
