"""Opening the supported image formats, and no other parser that Pillow knows."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import IO

import pillow_heif
from PIL import Image
from PIL.ImageFile import ImageFile

from aff_contracts.errors import (
    ImageError,
    ImageTooManyPixelsError,
    TruncatedImageError,
    UnsupportedImageError,
)

# AVIF and HEIF share container brands: of such a file, each is tried.
SUPPORTED_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "TIFF")

_PREFIX_BYTES = 16

# What Pillow's readers of these formats let out on damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    struct.error,
)

_Accept = Callable[[bytes], bool | str]
_Reader = Callable[[IO[bytes], str | bytes], ImageFile]


def open_image(data: bytes) -> ImageFile:
    """Read the header of an encoded image; the pixels are not decoded yet.

    `PIL.Image.open` is not used: it reports damaged files and foreign files alike, and warns of sizes below the
    limit of the caller.

    Raises:
        UnsupportedImageError: No supported format begins like this.
        TruncatedImageError: The header is damaged.
        ImageTooManyPixelsError: Pillow itself refuses the size.
    """
    failure: ImageError = UnsupportedImageError("not a JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF image")
    for accept, reader in _readers():
        if accept(data[:_PREFIX_BYTES]) is True:
            try:
                with translated_errors():
                    return reader(BytesIO(data), "")
            except TruncatedImageError as error:
                failure = error
    raise failure


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate what Pillow raises while it reads an image.

    Raises:
        TruncatedImageError: The image is damaged or ends too early.
        ImageTooManyPixelsError: Pillow itself refuses the size.
    """
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ImageTooManyPixelsError(str(error)) from error
    except _DAMAGE as error:
        raise TruncatedImageError(f"cannot be decoded: {error}") from error


@cache
def _readers() -> tuple[tuple[_Accept, _Reader], ...]:
    Image.init()
    pillow_heif.register_heif_opener()
    registered = [Image.OPEN[name] for name in SUPPORTED_FORMATS]
    return tuple((accept, reader) for reader, accept in registered if accept is not None)
