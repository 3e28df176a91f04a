"""Conversion of any colour mode and bit depth to 8-bit RGB."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops
from PIL.ImageFile import ImageFile

_BITS = 8  # of a byte, and of a level that is returned
_STRIP_PIXELS = 1 << 18


@dataclass(frozen=True, slots=True)
class LevelScale:
    """How levels of any depth become 8-bit ones: `(level - black) * gain`, of which whole levels keep the floor.

    Attributes:
        black: Level that becomes 0.
        gain: 8-bit levels for each level.
        floors: Whether fractions are cut off rather than rounded: lower bits are left out then.
    """

    black: float
    gain: float
    floors: bool

    @classmethod
    def of(cls, darkest: float, brightest: float, *, whole: bool) -> LevelScale:
        """Return the scale of levels by their range: see `rgb_pixels`.

        Args:
            darkest: Least level.
            brightest: Highest level.
            whole: Whether the levels are whole numbers.
        """
        bits = int(brightest).bit_length()
        if darkest >= 0 and whole and bits >= _BITS:
            return cls(0.0, 2.0 ** (_BITS - bits), floors=True)
        black, white = (0.0, 2.0 ** max(bits, 1) - 1) if darkest >= 0 else (float(darkest), float(brightest))
        return cls(black, 255 / (white - black or 1.0), floors=False)

    def __call__(self, levels: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the 8-bit levels, of the shape of `levels`."""
        scaled = np.minimum((levels.astype(np.float64) - self.black) * self.gain, 255)
        return (np.floor(scaled) if self.floors else np.rint(scaled)).astype(np.uint8)


def rgb_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Convert a loaded image to RGB.

    Transparency is composited on white. Grey deeper than eight bits is scaled by its own range, whatever it is kept
    in: from 0 to the highest value that the bits of its brightest level can hold (4,095 for 12-bit data, 1 for
    fractions); with negative levels, from its darkest to its brightest.

    Args:
        image: Image in any Pillow mode that converts to RGB. `info["unsigned"]`: its 32-bit integers have no sign.
            `info["white_is_zero"]`: its deep levels are a negative.

    Returns:
        (H, W, 3) uint8, C-contiguous, owned by the caller.

    Raises:
        ValueError: Pillow has no conversion from this mode.
    """
    convert: Callable[[Image.Image], Image.Image | NDArray[np.uint8]]
    convert = _grey_conversion(image) if is_deep_grey(image) else rgb_strip
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top, strip in strips_of(image):
        pixels[top : top + strip.height] = np.asarray(convert(strip))
    return pixels


def strips_of(
    image: Image.Image, box: tuple[int, int, int, int] | None = None, multiple: int = 1
) -> Iterator[tuple[int, Image.Image]]:
    """Return a loaded image in strips, each with its distance from the top, so that copies of it stay small.

    Args:
        image: Loaded.
        box: Only this region: left, top, right and bottom, in its pixels.
        multiple: The rows of every strip but the last are a multiple of it.
    """
    left, upper, right, lower = box or (0, 0, *image.size)
    rows = strip_rows(right - left, multiple)
    for top in range(upper, lower, rows):
        yield top - upper, image.crop((left, top, right, min(top + rows, lower)))


def strip_rows(width: int, multiple: int) -> int:
    """Return how many rows of that width a strip has."""
    return multiple * max(1, _STRIP_PIXELS // (width * multiple))


def is_deep_grey(image: Image.Image) -> bool:
    """Return whether Pillow keeps the image as grey of more than eight bits."""
    return image.mode.startswith(("I", "F"))


def grey_levels(image: Image.Image) -> NDArray[Any]:
    """Return the (H, W) levels of deep grey; NaN and infinity become 0."""
    levels: NDArray[Any] = np.asarray(image)
    if levels.dtype.kind == "f":
        levels = np.nan_to_num(levels, posinf=0.0, neginf=0.0)
    if image.info.get("unsigned"):
        levels = levels.view(np.uint32)
    return levels


def deep_levels(image: Image.Image) -> NDArray[Any]:
    """Return the (H, W, 1) levels of deep grey, or (H, W, 2) with alpha if a level is transparent."""
    levels = grey_levels(image)[:, :, np.newaxis]
    transparent = image.info.get("transparency")
    if transparent is None:
        return levels
    return np.concatenate([levels, (levels != transparent).astype(levels.dtype)], axis=2)


def rgb_strip(image: Image.Image) -> Image.Image:
    """Convert a loaded image of at most eight bits a channel to RGB, transparency composited on white."""
    if image.has_transparency_data:
        photograph = image.convert("RGBA")
        white = Image.new("RGBA", photograph.size, "white")
        image = Image.alpha_composite(white, photograph)
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey_conversion(image: Image.Image) -> Callable[[Image.Image], NDArray[np.uint8]]:
    ranges = [(levels.min(), levels.max()) for levels in (grey_levels(strip) for _, strip in strips_of(image))]
    scale = LevelScale.of(min(low for low, _ in ranges), max(high for _, high in ranges), whole=image.mode != "F")
    transparent = image.info.get("transparency")  # one level, which PNG has

    def convert(strip: Image.Image) -> NDArray[np.uint8]:
        levels = grey_levels(strip)
        grey = scale(levels)
        if image.info.get("white_is_zero"):
            grey = 255 - grey
        if transparent is not None:
            grey = np.where(levels == transparent, 255, grey).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)

    return convert


# Pillow keeps 8 bits a channel. The raw mode's byte order decides which byte of 16 bits is kept: the upper one, or,
# with the other order, the lower one.
_SIXTEEN_BITS = re.compile("(RGB|RGBX|RGBA);16([BLN])")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
# There is no other order of this one; read as 8-bit RGBA it is the upper and the lower byte of grey, then of alpha.
_GREY_ALPHA, _AS_BYTES = "LA;16B", "RGBA"

_LEVELS = 256  # of a byte

_Table = list[int]


def load_colour(image: ImageFile) -> Image.Image:
    """Decode an opened image; 16 bits a channel are scaled by the bits that its brightest value needs.

    Returns:
        The image itself, or, if it leaves upper bits unused, another one of its mode, size and `info`.
    """
    raw_mode = _raw_mode(image)
    other = _of_lower_bytes(raw_mode)
    encoded = encoded_file(image) if other else b""
    image.load()
    if not encoded or max(_brightest(image)[:3]) >= _LEVELS // 2:
        return image
    file: ImageFile = type(image)(BytesIO(encoded), "")
    file.info.pop("xmp", None)
    file.tile = [_with_raw_mode(tile, other) for tile in file.tile]
    file.load()
    lower: Image.Image = file
    if raw_mode == _GREY_ALPHA:
        _, grey, _, alpha = lower.split()
        lower = Image.merge(image.mode, (grey, grey, grey, alpha))
    upper_tables, lower_tables = _tables(_brightest(image), _brightest(lower))
    scaled = ImageChops.add(image.point(upper_tables), lower.point(lower_tables))
    scaled.info = image.info
    return scaled


def is_deep_colour(image: ImageFile) -> bool:
    """Return whether an opened image is colour, or grey with alpha, in 16 bits a channel."""
    return bool(_of_lower_bytes(_raw_mode(image)))


def encoded_file(image: ImageFile) -> bytes:
    """Return the file of an image that was opened from memory, and is not decoded yet."""
    return image.fp.getvalue() if isinstance(image.fp, BytesIO) else b""


def _of_lower_bytes(raw_mode: str) -> str:
    """Return the raw mode that reads the lower bytes of 16 bits; empty where `raw_mode` is of no such picture."""
    layout = _SIXTEEN_BITS.fullmatch(raw_mode)
    if layout:
        return f"{layout[1]};16{_OTHER_ORDER[layout[2]]}"
    return _AS_BYTES if raw_mode == _GREY_ALPHA else ""


def _raw_mode(image: ImageFile) -> str:
    arguments = image.tile[0].args if image.tile else ""
    raw_mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw_mode if isinstance(raw_mode, str) else ""


def _with_raw_mode(tile: Any, raw_mode: str) -> Any:
    return tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *tile.args[1:]))


def _brightest(image: Image.Image) -> list[int]:
    """Return the highest level of each channel."""
    return [max(level for level, count in enumerate(channel.histogram()) if count) for channel in image.split()]


def _tables(upper: list[int], lower: list[int]) -> tuple[_Table, _Table]:
    """Return what the upper and the lower bytes become, channel by channel, from the highest of each.

    The colours are scaled together, alpha separately.
    """
    groups = [(max(upper[:3]), max(lower[:3]))] * 3 + list(zip(upper[3:], lower[3:], strict=True))
    pairs = [_scaling(*group) for group in groups]
    return [level for pair in pairs for level in pair[0]], [level for pair in pairs for level in pair[1]]


def _scaling(upper: int, lower: int) -> tuple[_Table, _Table]:
    bits = upper.bit_length() + _BITS if upper else max(lower.bit_length(), 1)
    levels = range(_LEVELS)
    if bits >= _BITS:
        return [level << (2 * _BITS - bits) & 0xFF for level in levels], [level >> (bits - _BITS) for level in levels]
    return [0] * _LEVELS, [min(round(level * 255 / (2**bits - 1)), 255) for level in levels]
