"""Decodes an image file to upright RGB pixels; the only module that decodes images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from pydantic import BaseModel, ConfigDict, Field

from aff_shared.errors import (
    EmptyImageError,
    ImageError,
    ImageTooManyBytesError,
    ImageTooManyPixelsError,
    ImageTooSmallError,
    InvalidCropError,
    TruncatedImageError,
)
from aff_shared.images.colour import rgb_pixels
from aff_shared.images.formats import exif_orientation, load_pixels, open_image, open_strips, translated_errors
from aff_shared.images.size import announced_pixels, require_memory
from aff_shared.images.strips import Box, reduced_rgb
from aff_shared.resource_limits import MAX_IMAGE_BYTES

# Transposition to upright by EXIF orientation; 1 is upright already.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING, _MIRRORED, _UPSIDE_DOWN = frozenset({5, 6, 7, 8}), frozenset({2, 3, 6, 7}), frozenset({3, 4, 7, 8})
_MOST_KEPT_PIXELS = 16_000_000  # of a large image that is reduced


class ImageLimits(BaseModel):
    """Limits on an image; all are checked before a pixel is decoded.

    Attributes:
        max_image_bytes: Size of the encoded file.
        max_pixels: Width times height.
        max_side: Longer side, in pixels.
        min_side: Shorter side, in pixels.
        large_pixels: An image of more pixels is reduced while it is decoded, strip by strip where its format allows
            that, to what the encoder needs.
        max_decoder_bytes: Memory that the decoder of such an image may take at once. It limits the pixels of formats
            that are decoded as a whole: AVIF, HEIC, interlaced PNG, lossless WebP, JPEG in several scans.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_image_bytes: int = Field(default=MAX_IMAGE_BYTES, ge=1)
    max_pixels: int = Field(default=100_000_000, ge=1)
    max_side: int = Field(default=30_000, ge=1)
    min_side: int = Field(default=8, ge=1)
    large_pixels: int = Field(default=13_000_000, ge=1)
    max_decoder_bytes: int = Field(default=320 * 1024 * 1024, ge=1)


@dataclass(frozen=True, slots=True)
class Crop:
    """A region of the upright photograph, in its pixels, as the landmark benchmarks write query boxes.

    Attributes:
        left: Distance of the left edge from the photograph's left edge.
        top: Distance of the top edge from the photograph's top edge.
        right: Distance of the right edge from the photograph's left edge.
        bottom: Distance of the bottom edge from the photograph's top edge.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        """Check the region.

        Raises:
            InvalidCropError: Not finite, negative, or less than a pixel wide or high.
        """
        finite = all(math.isfinite(edge) for edge in (self.left, self.top, self.right, self.bottom))
        if not finite or min(self.left, self.top) < 0 or self.shorter_side < 1:
            raise InvalidCropError(
                f"{self}: needs 0 <= x1 < x2 and 0 <= y1 < y2, at least one pixel apart", item="crop"
            )

    def __str__(self) -> str:
        return f"{self.left:g},{self.top:g},{self.right:g},{self.bottom:g}"

    @property
    def shorter_side(self) -> float:
        """Length of the shorter side, in pixels."""
        return min(self.right - self.left, self.bottom - self.top)

    @classmethod
    def parse(cls, text: str) -> Crop:
        """Read `x1,y1,x2,y2`.

        Raises:
            InvalidCropError: Not four numbers, or no region.
        """
        try:
            left, top, right, bottom = (float(part) for part in text.split(","))
        except ValueError as error:
            raise InvalidCropError(f"{text!r} is not of the form x1,y1,x2,y2", item="crop") from error
        return cls(left, top, right, bottom)


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded photograph.

    Attributes:
        pixels: (H, W, 3) uint8, upright RGB, C-contiguous.
        width: Width of the whole upright photograph as it was encoded, before reduction and crop.
        height: Height of the whole upright photograph as it was encoded, before reduction and crop.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int


def decode_image(
    data: bytes, limits: ImageLimits, *, min_side: int | None = None, crop: Crop | None = None, name: str | None = None
) -> DecodedImage:
    """Decode a JPEG, PNG, WebP, AVIF, HEIC, BMP, TIFF or the first frame of a GIF to upright RGB.

    Args:
        data: The encoded file.
        limits: Limits on the image.
        min_side: Side of the encoder's input. A large JPEG is then decoded at a half, a quarter or an eighth
            of its size, so that the shorter side (of the crop) keeps at least twice as many pixels; an image of more
            than `limits.large_pixels`, of any format, at a whole fraction. Of a long strip of an image, 16 million
            pixels are kept.
        crop: Only this region.
        name: Name of the image, for errors.

    Raises:
        ImageError: The image cannot be decoded; the subclass is the cause.
        InvalidCropError: The crop is not inside the photograph.
    """
    try:
        _check_size_in_bytes(data, limits)
        image, announced = open_image(data), announced_pixels(data)
        if image.width * image.height > max(announced, 0 if image.format == "AVIF" else limits.large_pixels):
            raise TruncatedImageError("its headers disagree about its size")
        return _decode(image, announced, limits, min_side, crop)
    except ImageError as error:
        error.item = name
        raise


def _check_size_in_bytes(data: bytes, limits: ImageLimits) -> None:
    if not data:
        raise EmptyImageError("no bytes")
    if len(data) > limits.max_image_bytes:
        raise ImageTooManyBytesError(f"{len(data)} bytes; the limit is {limits.max_image_bytes}")


def _check_size_in_pixels(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels or max(size) > limits.max_side:
        raise ImageTooManyPixelsError(
            f"{width} x {height} pixels; the limits are {limits.max_pixels} in all and {limits.max_side} a side"
        )
    if min(size) < limits.min_side:
        raise ImageTooSmallError(f"{width} x {height} pixels; a side needs at least {limits.min_side}")


def _decode(
    image: ImageFile, announced: int, limits: ImageLimits, min_side: int | None, crop: Crop | None
) -> DecodedImage:
    _check_size_in_pixels(image.size, limits)
    if announced > limits.max_pixels:  # of an AVIF or HEIC that shows a part of its pixels
        raise ImageTooManyPixelsError(f"{announced} pixels are decoded of it; the limit is {limits.max_pixels}")
    if announced > limits.large_pixels:
        return _decode_large(image, announced, limits, min_side, crop)
    encoded_size = image.size
    loaded = load_pixels(image, _factor(encoded_size, min_side, crop))
    orientation = exif_orientation(loaded)
    width, height = reversed(encoded_size) if orientation in _LYING else encoded_size
    with translated_errors():
        upright = loaded if orientation == 1 else loaded.transpose(_UPRIGHT[orientation])
        if crop is not None:
            upright = upright.crop(_box(crop, upright.size, (width, height)))
        return DecodedImage(rgb_pixels(upright), width, height)


def _decode_large(
    image: ImageFile, announced: int, limits: ImageLimits, min_side: int | None, crop: Crop | None
) -> DecodedImage:
    factor = _factor(image.size, min_side, crop)
    if min_side is not None:
        cropped = math.inf if crop is None else (crop.right - crop.left) * (crop.bottom - crop.top)
        kept = min(image.width * image.height, cropped)  # a crop may reach beyond the image, which is rejected below
        factor = max(factor, math.ceil(math.sqrt(kept / _MOST_KEPT_PIXELS)))
    strips = open_strips(image, factor, require_memory(image, announced, limits.max_decoder_bytes))
    orientation, lying = strips.orientation, strips.orientation in _LYING
    width, height = reversed(strips.encoded_size) if lying else strips.encoded_size
    across, down = reversed(strips.size) if lying else strips.size
    box = (0, 0, across, down) if crop is None else _box(crop, (across, down), (width, height))
    rest = max(1, factor * strips.size[0] // strips.encoded_size[0])  # what the decoder left to do
    with translated_errors():
        left, top, right, bottom = stored = _stored_box(box, (across, down), orientation)
        pixels = reduced_rgb(strips.read(stored, rest), (right - left, bottom - top), rest)
        if orientation != 1:
            pixels = np.array(Image.fromarray(pixels).transpose(_UPRIGHT[orientation]))
        return DecodedImage(pixels, width, height)


def _factor(size: tuple[int, int], min_side: int | None, crop: Crop | None) -> int:
    """Return by how much an image may be reduced, so that its shorter side keeps twice `min_side`."""
    if min_side is None:
        return 1
    return max(1, int(min(*size, crop.shorter_side if crop else math.inf) / (2 * min_side)))


def _box(crop: Crop, size: tuple[int, int], encoded_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a crop of the encoded photograph in whole pixels of the decoded one, which may be reduced."""
    width, height = encoded_size
    if crop.right > width or crop.bottom > height:
        raise InvalidCropError(
            f"{crop} is not inside the photograph of {width} x {height} pixels (upright)", item="crop"
        )
    across, down = size[0] / width, size[1] / height
    left, top = math.floor(crop.left * across), math.floor(crop.top * down)
    right, bottom = math.ceil(crop.right * across), math.ceil(crop.bottom * down)
    return left, top, min(right, size[0]), min(bottom, size[1])


def _stored_box(box: Box, size: tuple[int, int], orientation: int) -> Box:
    """Return a region of the upright image, of that size, in pixels of the stored image."""
    left, top, right, bottom = box
    width, height = size
    if orientation in _MIRRORED:
        left, right = width - right, width - left
    if orientation in _UPSIDE_DOWN:
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if orientation in _LYING else (left, top, right, bottom)
