"""Colour, or grey with alpha, in 16 bits a channel that uses fewer of them, such as 12-bit data in a 16-bit file."""

from __future__ import annotations

import re
import sys
from io import BytesIO
from typing import Any

from PIL import Image, ImageChops
from PIL.ImageFile import ImageFile

# Pillow keeps 8 bits a channel. The raw mode's byte order decides which byte of 16 bits is kept: the upper one, or,
# with the other order, the lower one.
_SIXTEEN_BITS = re.compile("(RGB|RGBX|RGBA);16([BLN])")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
# There is no other order of this one; read as 8-bit RGBA it is the upper and the lower byte of grey, then of alpha.
_GREY_ALPHA, _AS_BYTES = "LA;16B", "RGBA"

_BITS, _LEVELS = 8, 256  # of a byte

_Table = list[int]


def load_colour(image: ImageFile) -> Image.Image:
    """Decode an opened image; 16 bits a channel are scaled by the bits that its brightest value needs.

    Returns:
        The image itself, or, where it leaves upper bits unused, another one of its mode, size and `info`.
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

    The colours are scaled together, alpha by itself.
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
