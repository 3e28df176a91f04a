"""From any colour mode of an encoded image to 8-bit RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def rgb_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Convert a loaded image to RGB.

    Transparency is composited on white. 16-bit grey keeps its upper eight bits. 32-bit integers and floats have
    no agreed range, so their darkest value becomes black and their brightest white.

    Args:
        image: Of any Pillow mode that converts to RGB.

    Returns:
        (H, W, 3) uint8, C-contiguous, owned by the caller.

    Raises:
        ValueError: Pillow has no conversion from this mode.
    """
    if image.mode.startswith(("I", "F")):
        return np.repeat(_grey_levels(np.asarray(image))[:, :, np.newaxis], 3, axis=2)
    if image.has_transparency_data:
        photograph = image.convert("RGBA")
        white = Image.new("RGBA", photograph.size, "white")
        image = Image.alpha_composite(white, photograph)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.uint8)


def _grey_levels(deep: NDArray[Any]) -> NDArray[np.uint8]:
    if deep.dtype.kind == "u":
        return (deep >> 8).astype(np.uint8)
    values = np.nan_to_num(deep.astype(np.float64), posinf=0.0, neginf=0.0)
    darkest = float(values.min())
    contrast = float(values.max()) - darkest or 1.0
    return np.rint((values - darkest) / contrast * 255).astype(np.uint8)
