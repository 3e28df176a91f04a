"""From any colour mode of an encoded image to 8-bit RGB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_BITS = 8  # of a level that is returned
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
        image: Of any Pillow mode that converts to RGB. `info["unsigned"]`: its 32-bit integers have no sign.
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
    """Return the (H, W) levels of deep grey; what is no number, or infinite, is 0."""
    levels: NDArray[Any] = np.asarray(image)
    if levels.dtype.kind == "f":
        levels = np.nan_to_num(levels, posinf=0.0, neginf=0.0)
    if image.info.get("unsigned"):
        levels = levels.view(np.uint32)
    return levels


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
