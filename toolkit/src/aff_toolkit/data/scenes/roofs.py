"""Roofs of a landmark's blocks."""

from __future__ import annotations

import cv2
import numpy as np

from aff_toolkit.data.scenes.canvas import Canvas
from aff_toolkit.data.scenes.palette import Palette


def draw_roof(canvas: Canvas, rng: np.random.Generator, palette: Palette, left: int, right: int, top: int) -> None:
    """Put a roof of some kind on a block."""
    kind = _KINDS[rng.integers(len(_KINDS))]
    height = min(top - 6, int((right - left) * rng.uniform(0.2, 0.9)))
    kind(canvas, rng, palette, left, right, top, height)


def _gable(
    canvas: Canvas, _rng: np.random.Generator, palette: Palette, left: int, right: int, top: int, height: int
) -> None:
    canvas.build([(left - 4, top), ((left + right) // 2, top - height), (right + 4, top)], palette.roof)


def _dome(
    canvas: Canvas, _rng: np.random.Generator, palette: Palette, left: int, right: int, top: int, height: int
) -> None:
    middle = (left + right) // 2
    outline = cv2.ellipse2Poly((middle, top), ((right - left) // 2, max(4, height)), 0, 180, 360, 6)
    canvas.build([(int(x), int(y)) for x, y in outline], palette.roof)
    peak = max(2, top - height - 16)
    canvas.build([(middle - 2, top - height), (middle, peak), (middle + 2, top)], palette.trim)


def _steps(
    canvas: Canvas, rng: np.random.Generator, palette: Palette, left: int, right: int, top: int, height: int
) -> None:
    steps = int(rng.integers(2, 5))
    for step in range(steps):
        inset = step * (right - left) // (2 * steps)
        canvas.build_box(left + inset, top - (step + 1) * height // steps, right - inset, top, palette.wall)


def _battlements(
    canvas: Canvas, rng: np.random.Generator, palette: Palette, left: int, right: int, top: int, _height: int
) -> None:
    count = int(rng.integers(4, 10))
    half = max(2, (right - left) // (3 * count))
    for x in np.linspace(left, right, count, endpoint=False).astype(int).tolist():
        canvas.build_box(x, top - 12, x + 2 * half, top, palette.wall)


def _flat(
    canvas: Canvas, _rng: np.random.Generator, palette: Palette, left: int, right: int, top: int, _height: int
) -> None:
    canvas.build_box(left - 3, top - 7, right + 3, top, palette.trim)


_KINDS = (_gable, _dome, _steps, _battlements, _flat)
