"""Large images, a strip of rows at a time: their pixels are not all in memory where their format allows that."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
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

from aff_shared.images.colour import (
    LevelScale,
    deep_levels,
    encoded_file,
    is_deep_grey,
    rgb_strip,
    strip_rows,
    strips_of,
)

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
_ALPHAS = {1: 0, 2: 1, 3: 0, 4: 1}  # by the number of channels
_DTYPES = {"uchar": "u1", "char": "i1", "ushort": "u2", "short": "i2", "uint": "u4", "int": "i4", "float": "f4"}


@dataclass(frozen=True, slots=True)
class Strips:
    """An image whose rows are read in their order.

    Attributes:
        encoded_size: Width and height as stored in the file, in pixels; `size` is that of the decoded image.
        orientation: EXIF orientation that it is still to be turned by.
        read: Returns a region in strips, whose rows but the last one's are a multiple of a number. The whole file is
            read in any case, so that damage anywhere is noticed; its errors are those of the format's library.
    """

    encoded_size: tuple[int, int]
    size: tuple[int, int]
    orientation: int
    read: Callable[[Box, int], Iterator[Strip]]


def is_streamed(image: ImageFile) -> bool:
    """Return whether an opened image is read row by row, or decoded at a fraction of its size.

    That is a WebP, a PNG that is not interlaced, and a TIFF of grey or RGB; with a byte for each pixel, none is.
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
    """Open an image for which `is_streamed` is true; a WebP is decoded at 1 / `factor` of its size.

    `orientation` is the EXIF orientation that it is to be turned by; of a TIFF its tag counts.
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
            yield deep_levels(strip) if is_deep_grey(strip) else strip

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
            mode, size = _VIPS_MODES[levels.shape[2]], levels.shape[1::-1]
            yield levels if levels.dtype != np.uint8 else Image.frombytes(mode, size, levels.tobytes())


def _steps(upper: int, lower: int, height: int, step: int) -> Iterator[tuple[int, int, bool]]:
    """Return ranges of rows, and whether each is part of the region, for all rows of the image in order."""
    for begin, end, included in ((0, upper, False), (upper, lower, True), (lower, height, False)):
        for start in range(begin, end, step):
            yield start, min(start + step, end), included


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


def reduced_rgb(strips: Iterable[Strip], size: tuple[int, int], factor: int) -> NDArray[np.uint8]:
    """Reduce an image by the mean of squares of pixels: (H, W, 3) uint8, C-contiguous.

    Colours are those of `rgb_pixels`: transparency is composited on white before the mean is taken, and levels deeper
    than eight bits are scaled by the range of the whole image, its alpha separately.

    Args:
        strips: Strips of one image, from the top, all of one kind. All but the last have a multiple of `factor` rows.
        size: Width and height of the image.
        factor: Side of the squares in pixels; those at the right and lower edge may be smaller.
    """
    width, height = (math.ceil(side / factor) for side in size)
    pixels = np.empty((height, width, 3), np.uint8)  # one block: small ones among the strips would keep their memory
    levels = _Levels(factor)
    row = 0
    for strip in strips:
        if isinstance(strip, Image.Image):
            reduced = _reduced_strip(strip, factor)
            pixels[row : row + len(reduced)] = reduced
            row += len(reduced)
        else:
            levels.add(strip)
    return pixels if row else levels.rgb()


def _reduced_strip(strip: Image.Image, factor: int) -> NDArray[Any]:
    if strip.mode != "RGBA":
        return np.asarray(rgb_strip(strip).reduce(factor))
    weighted = np.asarray(strip.convert("RGBa").reduce(factor))  # a third of the time of rgb_strip
    on_white: NDArray[Any] = np.minimum(weighted[:, :, :3].astype(np.uint16) + (255 - weighted[:, :, 3:]), 255)
    return on_white


class _Levels:
    """The means of deep levels, colours multiplied by alpha, and the range of all levels."""

    def __init__(self, factor: int) -> None:
        self._factor = factor
        self._rows: list[NDArray[np.float32]] = []
        self._darkest, self._brightest, self._most_alpha = np.inf, -np.inf, 0
        self._whole = True
        self._alphas = 0

    def add(self, levels: NDArray[np.generic]) -> None:
        """Take (rows, W, C) levels."""
        self._alphas = _ALPHAS[levels.shape[2]]
        self._whole = levels.dtype.kind != "f"
        if not self._whole:
            levels = np.nan_to_num(levels, posinf=0.0, neginf=0.0)
        colours = levels[:, :, : levels.shape[2] - self._alphas]
        self._darkest = min(self._darkest, colours.min())
        self._brightest = max(self._brightest, colours.max())
        planes = [colours[:, :, place].astype(np.float32) for place in range(colours.shape[2])]
        if self._alphas:
            alpha = levels[:, :, -1].astype(np.float32)
            self._most_alpha = max(self._most_alpha, int(alpha.max()))
            planes = [plane * alpha for plane in planes] + [alpha]
        reduced = [np.asarray(Image.fromarray(plane).reduce(self._factor)) for plane in planes]
        self._rows.append(np.stack(reduced, axis=2))

    def rgb(self) -> NDArray[np.uint8]:
        """Return the image."""
        means = np.concatenate(self._rows)
        scale = LevelScale.of(self._darkest, self._brightest, whole=self._whole)
        if not self._alphas:
            grey_or_rgb = scale(means)
        else:
            gain = LevelScale.of(0, self._most_alpha, whole=True).gain
            opaque = np.minimum(means[:, :, -1:] * (gain / 255), 1)
            share = np.where(means[:, :, -1:] > 0, means[:, :, :-1] / np.maximum(means[:, :, -1:], 1e-9), 0)
            colours = (share - scale.black) * scale.gain
            grey_or_rgb = np.rint(np.clip(colours * opaque + 255 * (1 - opaque), 0, 255)).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(grey_or_rgb, (*grey_or_rgb.shape[:2], 3)))
