"""From any colour mode of an encoded image to 8-bit RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_BITS = 8  # of a level that is returned


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
    if image.mode.startswith(("I", "F")):
        levels = np.asarray(image)
        grey = _grey_levels(levels.view(np.uint32) if image.info.get("unsigned") else levels)
        if image.info.get("white_is_zero"):
            grey = 255 - grey
        if "transparency" in image.info:  # one level, which PNG has
            grey = np.where(levels == image.info["transparency"], 255, grey).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    if image.has_transparency_data:
        photograph = image.convert("RGBA")
        white = Image.new("RGBA", photograph.size, "white")
        image = Image.alpha_composite(white, photograph)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.uint8)


def _grey_levels(levels: NDArray[Any]) -> NDArray[np.uint8]:
    whole = levels.dtype.kind in "iu"
    if not whole:
        levels = np.nan_to_num(levels.astype(np.float64), posinf=0.0, neginf=0.0)
    darkest, brightest = levels.min(), levels.max()
    bits = int(brightest).bit_length()
    if darkest >= 0 and whole and bits >= _BITS:
        return (levels >> (bits - _BITS)).astype(np.uint8)
    black, white = (0.0, 2.0 ** max(bits, 1) - 1) if darkest >= 0 else (float(darkest), float(brightest))
    scaled = (levels.astype(np.float64) - black) * (255 / (white - black or 1.0))
    return np.rint(np.minimum(scaled, 255)).astype(np.uint8)
