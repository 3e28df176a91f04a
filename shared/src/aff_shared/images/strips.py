"""Large images, a strip of rows at a time: their pixels are not all in memory where their format allows that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from aff_shared.images.colour import encoded_file, grey_levels, is_deep_grey, strip_rows, strips_of

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels."""
Strip = Image.Image | NDArray[Any]
"""Rows of at most eight bits a channel, or levels (rows, W, C) of more: grey, grey and alpha, RGB, or RGBA."""

_BYTE_MODES = frozenset({"1", "L", "P"})  # of which Pillow keeps a byte for each pixel
_VIPS_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_BITS, _COMPRESSION, _PHOTOMETRIC, _PLANES, _TILE_WIDTH, _EXTRA_SAMPLES = 258, 259, 262, 284, 322, 338
# Of what libvips reads as Pillow does: black is zero and RGB; uncompressed, LZW, Deflate and PackBits.
_STREAMED_BITS, _STREAMED_PHOTOMETRICS = frozenset({8, 16, 32}), frozenset({1, 2})
_STREAMED_COMPRESSIONS = frozenset({1, 5, 8, 32773, 32946})
_SEPARATE_PLANES = 2
_STRAIGHT_ALPHA = 2
_DTYPES = {
    "uchar": np.uint8,
    "char": np.int8,
    "ushort": np.uint16,
    "short": np.int16,
    "uint": np.uint32,
    "int": np.int32,
    "float": np.float32,
}


@dataclass(frozen=True, slots=True)
class Strips:
    """An image whose rows are read in their order.

    Attributes:
        encoded_size: Width and height as stored in the file, in pixels.
        size: The same as decoded.
        orientation: EXIF orientation that it is still to be turned by.
        read: Returns a region in strips, whose rows but the last one's are a multiple of a number. The whole file is
            read in any case, so that damage anywhere is noticed; its errors are those of the format's library.
    """

    encoded_size: tuple[int, int]
    size: tuple[int, int]
    orientation: int
    read: Callable[[Box, int], Iterator[Strip]]


def is_streamed(image: ImageFile) -> bool:
    """Return whether the format of an opened image is read row by row, or decoded at a fraction of its size.

    That is a WebP, a PNG that is not interlaced, and a TIFF of grey or RGB; a picture of a byte for each pixel is
    small enough as a whole.
    """
    if image.format == "WEBP":
        return True
    if image.mode in _BYTE_MODES:
        return False
    if image.format == "PNG":
        return not image.info.get("interlace")
    return isinstance(image, TiffImageFile) and _is_streamed_tiff(image)


def _is_streamed_tiff(image: TiffImageFile) -> bool:
    tags = image.tag_v2
    return (
        image.mode in {"RGB", "RGBA", "I;16", "I;16B", "I", "F"}
        and _STREAMED_BITS.issuperset(tags.get(_BITS, (1,)))
        and tags.get(_PHOTOMETRIC) in _STREAMED_PHOTOMETRICS
        and tags.get(_COMPRESSION, 1) in _STREAMED_COMPRESSIONS
        and not (tags.get(_PLANES) == _SEPARATE_PLANES and _TILE_WIDTH in tags)
        and (image.mode != "RGBA" or tags.get(_EXTRA_SAMPLES) == (_STRAIGHT_ALPHA,))
    )


def streamed(image: ImageFile, factor: int, orientation: int) -> Strips:
    """Open an image for which `is_streamed` is true.

    Args:
        image: As it was opened.
        factor: A WebP is decoded at this fraction of its size.
        orientation: EXIF orientation that it is to be turned by; of a TIFF its tag counts.
    """
    vips = _vips()
    data, options = encoded_file(image), {"access": "sequential", "fail_on": "error"}
    encoded_size, bands = image.size, None  # all of them: PNG has one more than Pillow's where a colour is transparent
    with _translated():
        if image.format == "WEBP":
            decoded = vips.Image.webpload_buffer(data, scale=1 / factor, **options)
        elif image.format == "PNG":
            decoded = vips.Image.pngload_buffer(data, **options)
        else:
            decoded = vips.Image.tiffload_buffer(data, **options)
            encoded_size, bands = (decoded.width, decoded.height), len(image.getbands())
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    size = decoded.width, decoded.height
    return Strips(encoded_size, size, orientation, lambda box, multiple: _vips_strips(decoded, bands, box, multiple))


def loaded_strips(image: Image.Image, encoded_size: tuple[int, int], orientation: int) -> Strips:
    """Return an image that Pillow has loaded, possibly at a fraction of its size, as strips."""

    def read(box: Box, multiple: int) -> Iterator[Strip]:
        for _, strip in strips_of(image, box, multiple):
            yield _deep_levels(strip) if is_deep_grey(strip) else strip

    return Strips(encoded_size, image.size, orientation, read)


def heif_strips(image: ImageFile) -> Strips:
    """Decode a HEIC without the copy that Pillow would hold of it."""
    file = pillow_heif.open_heif(encoded_file(image), convert_hdr_to_8bit=True)
    decoded = file[file.primary_index]
    rows = np.frombuffer(decoded.data, np.uint8).reshape(-1, decoded.stride)
    channels = len(decoded.mode)

    def read(box: Box, multiple: int) -> Iterator[Strip]:
        left, upper, right, lower = box
        step = strip_rows(right - left, multiple)
        for top in range(upper, lower, step):
            strip = rows[top : min(top + step, lower), left * channels : right * channels]
            yield Image.frombytes(decoded.mode, (right - left, len(strip)), strip.tobytes())

    return Strips(decoded.size, decoded.size, 1, read)


def _vips_strips(decoded: Any, bands: int | None, box: Box, multiple: int) -> Iterator[Strip]:
    left, upper, right, lower = box
    region = _vips().Region.new(decoded)
    step = strip_rows(decoded.width, multiple)
    for start, end, included in _steps(upper, lower, decoded.height, step):
        with _translated():
            fetched = region.fetch(0, start, decoded.width, end - start)
        if included:
            rows = np.frombuffer(fetched, _DTYPES[decoded.format])
            levels = rows.reshape(end - start, decoded.width, decoded.bands)[:, left:right, :bands]
            yield levels if levels.dtype != np.uint8 else _byte_strip(levels)


def _steps(upper: int, lower: int, height: int, step: int) -> Iterator[tuple[int, int, bool]]:
    """Return ranges of rows, and whether each is part of the region, for all rows of the image in order."""
    for begin, end, included in ((0, upper, False), (upper, lower, True), (lower, height, False)):
        for start in range(begin, end, step):
            yield start, min(start + step, end), included


def _byte_strip(levels: NDArray[np.uint8]) -> Image.Image:
    rows, width, bands = levels.shape
    return Image.frombytes(_VIPS_MODES[bands], (width, rows), levels.tobytes())


def _deep_levels(image: Image.Image) -> NDArray[Any]:
    levels = grey_levels(image)[:, :, np.newaxis]
    transparent = image.info.get("transparency")
    if transparent is None:
        return levels
    return np.concatenate([levels, (levels != transparent).astype(levels.dtype)], axis=2)


@contextmanager
def _translated() -> Iterator[None]:
    """Translate what libvips raises to what Pillow raises on a damaged file."""
    try:
        yield
    except _vips().Error as error:
        raise OSError(str(error).strip()) from error


@cache
def _vips() -> Any:
    """Load libvips, which most processes never need."""
    pyvips: Any = import_module("pyvips")

    pyvips.cache_set_max(0)
    pyvips.concurrency_set(1)
    return pyvips
