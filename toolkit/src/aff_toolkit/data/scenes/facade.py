"""Draws the front of a landmark: a texture and a silhouette that depend on the instance alone."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from aff_toolkit.data.scenes.canvas import Canvas, Pixels, Point
from aff_toolkit.data.scenes.ornaments import draw_ornament, draw_sign
from aff_toolkit.data.scenes.palette import Colour, Palette, shifted
from aff_toolkit.data.scenes.roofs import draw_roof

SIZE = 288
_GROUND = SIZE - 4
_CACHED = 512
_SEED = 20230618
_LIT_PANE = (214, 190, 120)


@lru_cache(maxsize=_CACHED)
def draw_facade(instance: int) -> tuple[Pixels, Pixels]:
    """Draw one landmark.

    Args:
        instance: Which one; at least 0.

    Returns:
        Its texture (SIZE, SIZE, 3) uint8 RGB, and its silhouette (SIZE, SIZE) uint8, 255 inside.
    """
    painter = _FacadePainter(np.random.default_rng((_SEED, instance)))
    painter.draw()
    return painter.canvas.pixels, painter.canvas.silhouette


class _FacadePainter:
    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.canvas = Canvas(SIZE)
        self.palette = Palette.draw(rng)

    def draw(self) -> None:
        """Draw the blocks from the outer to the inner ones, then ornaments over them."""
        blocks = self._blocks()
        for left, right, top in blocks:
            self._block(left, right, top)
        left, right, top = blocks[-1]
        self._door(left, right)
        draw_ornament(self.canvas, self.rng, self.palette, left, right, top)
        if self.rng.random() < 0.6:
            draw_sign(self.canvas, self.rng, left, right, top, _GROUND)
        self._weather()

    def _blocks(self) -> list[tuple[int, int, int]]:
        """Choose one to three blocks as (left, right, top), the main one last."""
        rng = self.rng
        width = int(rng.integers(90, 190))
        centre = SIZE // 2 + int(rng.integers(-20, 21))
        main = (centre - width // 2, centre + width // 2, int(rng.integers(60, 130)))
        wings = []
        for side in rng.permutation([-1, 1])[: rng.integers(0, 3)]:
            width = int(rng.integers(30, 70))
            top = int(rng.integers(50, 190))
            edge = main[0] if side < 0 else main[1]
            left, right = (edge - width, edge + 4) if side < 0 else (edge - 4, edge + width)
            wings.append((max(4, left), min(SIZE - 4, right), top))
        return [*wings, main]

    def _block(self, left: int, right: int, top: int) -> None:
        rng = self.rng
        shade = shifted(self.palette.wall, int(rng.integers(-16, 17)))
        self.canvas.build_box(left, top, right, _GROUND, shade)
        if rng.random() < 0.5:
            self._masonry(left, right, top, shifted(shade, -20))
        draw_roof(self.canvas, rng, self.palette, left, right, top)
        self._windows(left, right, top)
        for y in rng.integers(top, _GROUND - 20, rng.integers(0, 4)).tolist():
            self.canvas.box(left, y, right, y + int(rng.integers(2, 6)), self.palette.trim)

    def _masonry(self, left: int, right: int, top: int, colour: Colour) -> None:
        course = int(self.rng.integers(7, 14))
        length = int(self.rng.integers(12, 26))
        for row, y in enumerate(range(top, _GROUND, course)):
            self.canvas.line((left, y), (right, y), colour)
            for x in range(left + (row % 2) * length // 2, right, length):
                self.canvas.line((x, y), (x, min(y + course, _GROUND)), colour)

    def _windows(self, left: int, right: int, top: int) -> None:
        rng = self.rng
        width, height = right - left, _GROUND - 40 - top
        columns, rows = max(1, width // int(rng.integers(18, 44))), max(1, height // int(rng.integers(26, 56)))
        shape = int(rng.integers(5))
        fill_x, fill_y = rng.uniform(0.35, 0.65), rng.uniform(0.45, 0.8)
        cell_x, cell_y = width / columns, height / rows
        half_x, half_y = int(cell_x * fill_x / 2), int(cell_y * fill_y / 2)
        blind = rng.random((rows, columns)) < 0.12
        lit = rng.random((rows, columns)) < 0.15
        for row, column in zip(*np.nonzero(~blind), strict=True):
            centre = (int(left + (column + 0.5) * cell_x), int(top + 8 + (row + 0.5) * cell_y))
            glass = _LIT_PANE if lit[row, column] else self.palette.glass
            self._window(centre, half_x, half_y, shape, glass)

    def _window(self, centre: Point, half_x: int, half_y: int, shape: int, glass: Colour) -> None:
        """Draw one window: plain, arched, with a cross, with a gable, or round."""
        x, y = centre
        canvas, trim = self.canvas, self.palette.trim
        if shape == 4:
            canvas.disc(centre, min(half_x, half_y) + 2, trim)
            canvas.disc(centre, min(half_x, half_y), glass)
            return
        canvas.box(x - half_x - 2, y - half_y - 2, x + half_x + 2, y + half_y + 2, trim)
        canvas.box(x - half_x, y - half_y, x + half_x, y + half_y, glass)
        if shape == 1:
            canvas.arch((x, y - half_y), half_x + 2, trim)
            canvas.arch((x, y - half_y), half_x, glass)
        elif shape == 2:
            canvas.line((x, y - half_y), (x, y + half_y), trim, 2)
            canvas.line((x - half_x, y), (x + half_x, y), trim)
        elif shape == 3:
            canvas.paint(
                [(x - half_x - 3, y - half_y - 2), (x, y - half_y - 10), (x + half_x + 3, y - half_y - 2)], trim
            )

    def _door(self, left: int, right: int) -> None:
        rng, canvas, trim = self.rng, self.canvas, self.palette.trim
        half = int(rng.integers(8, 20))
        x = int(rng.integers(left + half + 4, max(left + half + 5, right - half - 4)))
        top = _GROUND - int(rng.integers(26, 46))
        dark = shifted(self.palette.roof, -30)
        canvas.box(x - half - 3, top, x + half + 3, _GROUND, trim)
        canvas.box(x - half, top + 3, x + half, _GROUND, dark)
        if rng.random() < 0.5:
            canvas.arch((x, top + 3), half, dark)
        if rng.random() < 0.4:
            for side in (-1, 1):
                for column in range(1, int(rng.integers(2, 4))):
                    offset = x + side * (half + 10 * column)
                    canvas.box(offset - 2, top - 8, offset + 2, _GROUND, trim)

    def _weather(self) -> None:
        """Add stains of two scales, as stone and plaster have them."""
        coarse = self.rng.normal(0, 9, (12, 12)).astype(np.float32)
        fine = self.rng.normal(0, 7, (96, 96)).astype(np.float32)
        stains = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        stains = stains + cv2.resize(fine, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        self.canvas.pixels = np.clip(self.canvas.pixels + stains[..., None], 0, 255).astype(np.uint8)
