"""Opens and decodes the supported image formats, without the other parsers of Pillow."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO

import pillow_heif
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from aff_shared.errors import (
    ImageError,
    ImageTooManyPixelsError,
    TruncatedImageError,
    UnsupportedImageError,
)
from aff_shared.images.avif import is_avif, open_avif
from aff_shared.images.colour import encoded_file, load_colour
from aff_shared.images.heif_boxes import check_announced_size
from aff_shared.images.jpeg import is_cut, open_jpeg, with_end_marker
from aff_shared.images.png import open_png
from aff_shared.images.strips import Strips, heif_strips, is_streamed, loaded_strips, streamed
from aff_shared.images.tiff import open_tiff

# AVIF and HEIF share container brands: of such a file, each is tried.
SUPPORTED_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "TIFF")

_PREFIX_BYTES = 16

# Exceptions of Pillow's readers of these formats on damaged files.
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
# Messages of Pillow and its libraries for intact files of unsupported kinds.
_NOT_READ = re.compile(
    r"unsupported|not (yet )?supported|not implemented|unknown pixel mode|cannot handle|reformat failed", re.IGNORECASE
)

_Accept = Callable[[bytes], bool | str]
_Reader = Callable[[bytes], ImageFile]
_OWN_READERS: dict[str, _Reader] = {"JPEG": open_jpeg, "PNG": open_png, "AVIF": open_avif, "TIFF": open_tiff}


def open_image(data: bytes) -> ImageFile:
    """Read the header of an encoded image; the pixels are not decoded yet.

    `PIL.Image.open` is not used: it reports damaged files and foreign files alike, and warns of sizes below the
    limit of the caller.

    Raises:
        UnsupportedImageError: No supported format begins like this, or it is a variant that cannot be read.
        TruncatedImageError: The header is damaged.
        ImageTooManyPixelsError: Pillow rejects the size.
    """
    failure: ImageError = UnsupportedImageError("not a JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF image")
    for accept, reader in _readers():
        if accept(data) is True:
            try:
                with translated_errors():
                    return _without_xmp(reader(data))
            except TruncatedImageError as error:
                failure = error
    check_announced_size(data)
    raise failure


def load_pixels(image: ImageFile, factor: int, least_factor: int = 1) -> Image.Image:
    """Decode an image that `open_image` returned.

    Args:
        image: As it was opened.
        factor: A JPEG is decoded at the smallest DCT scale (a half, a quarter, an eighth) not below 1/`factor`.
        least_factor: Smallest factor at which there is memory for its pixels.

    Returns:
        The image with its pixels, not turned upright yet.

    Raises:
        TruncatedImageError: It is damaged, or ends too early. A JPEG may lack its end marker.
        UnsupportedImageError: It is a variant that cannot be read.
    """
    if image.format != "JPEG":
        with translated_errors():
            return _with_opaque_bitmap(load_colour(image))
    encoded, exif = encoded_file(image), image.info["exif"]
    try:
        loaded = _load_jpeg(image, factor)
    except TruncatedImageError:
        with translated_errors():
            whole = with_end_marker(encoded, least_factor)
        if whole is None:
            raise
        again = open_jpeg(whole)
        again.info["exif"] = exif
        return _load_jpeg(again, factor)
    with translated_errors():
        cut = is_cut(loaded, encoded, least_factor)
    if cut:
        raise TruncatedImageError("pixels are missing before its end marker")
    return loaded


def open_strips(image: ImageFile, factor: int, least_factor: int) -> Strips:
    """Decode a large image that `open_image` returned, strip by strip where its format allows that.

    Args:
        image: As it was opened.
        factor: A JPEG or WebP is decoded at about 1/`factor` of its size.
        least_factor: See `load_pixels`.

    Raises:
        TruncatedImageError, UnsupportedImageError: See `load_pixels`. While the strips are read, these are to be
            translated by `translated_errors`.
    """
    if is_streamed(image):
        with translated_errors():
            return streamed(image, factor, exif_orientation(image))
    if image.format == "HEIF":
        with translated_errors():
            return heif_strips(image)
    encoded_size = image.size
    loaded = load_pixels(image, max(factor, least_factor), least_factor)
    return loaded_strips(loaded, encoded_size, exif_orientation(loaded))


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, that an opened image is still to be turned by.

    XMP is ignored, and so is what Pillow applies itself for TIFF, AVIF or HEIC. Damaged metadata count as upright.
    """
    exif = Image.Exif()
    try:
        with translated_errors():
            exif.load(image.info.get("exif") or b"")
            orientation = exif.get(ExifTags.Base.Orientation, 1)
    except ImageError:
        return 1
    return int(orientation) if orientation in range(1, 9) else 1


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate Pillow's exceptions while it reads an image.

    Raises:
        TruncatedImageError: The image is damaged or ends too early.
        UnsupportedImageError: The image is a variant that Pillow does not read.
        ImageTooManyPixelsError: Pillow rejects the size.
    """
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ImageTooManyPixelsError(str(error)) from error
    except _DAMAGE as error:
        if _NOT_READ.search(str(error)):
            raise UnsupportedImageError(f"cannot be read: {error}") from error
        raise TruncatedImageError(f"cannot be decoded: {error}") from error


def _load_jpeg(image: ImageFile, factor: int) -> ImageFile:
    with translated_errors():
        if factor > 1 and image.info["scalable"]:
            width, height = image.size
            image.draft(None, (width // factor, height // factor))
        image.load()
    return image


def _with_opaque_bitmap(image: Image.Image) -> Image.Image:
    """Take an alpha channel without any opacity, which programs leave in a BMP, for one that is not meant."""
    if image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getbbox() is None:
        image.putalpha(255)
    return image


def _without_xmp(image: ImageFile) -> ImageFile:
    """Remove XMP, so that Pillow ignores its orientation, like browsers."""
    for name in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(name, None)
    return image


@cache
def _readers() -> tuple[tuple[_Accept, _Reader], ...]:
    Image.init()
    pillow_heif.register_heif_opener()
    return tuple((_accept(name), _OWN_READERS.get(name) or _pillow_reader(name)) for name in SUPPORTED_FORMATS)


def _accept(name: str) -> _Accept:
    accept = Image.OPEN[name][1]
    if name == "AVIF" or accept is None:
        return is_avif
    return lambda data: accept(data[:_PREFIX_BYTES])


def _pillow_reader(name: str) -> _Reader:
    reader = Image.OPEN[name][0]
    return lambda data: reader(BytesIO(data), "")
