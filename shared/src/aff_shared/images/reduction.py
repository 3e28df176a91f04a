"""Strips of a large image become a small RGB image, by the mean of squares of pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aff_shared.images.colour import LevelScale, rgb_strip
from aff_shared.images.strips import Strip

_ALPHAS = {1: 0, 2: 1, 3: 0, 4: 1}  # by the number of channels


def reduced_rgb(strips: Iterable[Strip], size: tuple[int, int], factor: int) -> NDArray[np.uint8]:
    """Reduce an image.

    Colours are those of `rgb_pixels`: transparency is composited on white before the mean is taken, and levels deeper
    than eight bits are scaled by the range of the whole image, its alpha separately.

    Args:
        strips: Strips of one image, from the top, all of one kind. All but the last have a multiple of `factor` rows.
        size: Width and height of the image.
        factor: Side of the squares in pixels; those at the right and lower edge may be smaller.

    Returns:
        (H, W, 3) uint8, C-contiguous.
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
