"""Draws the front of a landmark: a texture and a silhouette that depend on the instance alone."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 288
_GROUND = SIZE - 4
_CACHED = 512
_SEED = 20230618

Colour = tuple[int, int, int]
Pixels = NDArray[np.uint8]

# Walls of different landmarks share these hues, so colour alone does not tell two of them apart.
_WALLS = (
    (196, 178, 150),
    (172, 148, 122),
    (158, 92, 72),
    (205, 200, 190),
    (214, 190, 140),
    (140, 140, 146),
    (188, 160, 156),
    (150, 160, 140),
)
_ROOFS = ((92, 70, 62), (70, 78, 88), (140, 72, 52), (88, 108, 92))
_GLASS = ((48, 58, 74), (70, 86, 100), (34, 36, 44), (96, 104, 96))
_SIGNS = ((176, 40, 36), (30, 70, 140), (28, 110, 70), (220, 180, 60), (60, 40, 90))
_LETTERS = "ABCDEFGHKLMNOPRSTUVXYZ"


@lru_cache(maxsize=_CACHED)
def draw_facade(instance: int) -> tuple[Pixels, Pixels]:
    """Draw one landmark.

    Args:
        instance: Which one; at least 0.

    Returns:
        Its texture (SIZE, SIZE, 3) uint8 RGB, and its silhouette (SIZE, SIZE) uint8, 255 inside.
    """
    rng = np.random.default_rng((_SEED, instance))
    painter = _FacadePainter(rng)
    painter.draw()
    return painter.canvas, painter.mask


class _FacadePainter:
    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.canvas: Pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
        self.mask: Pixels = np.zeros((SIZE, SIZE), np.uint8)
        self.wall = self._jittered(_WALLS, 14)
        self.trim = _shifted(self.wall, int(rng.integers(24, 52)) * int(rng.choice([-1, 1])))
        self.roof = self._jittered(_ROOFS, 12)
        self.glass = self._jittered(_GLASS, 10)

    def draw(self) -> None:
        """Draw the blocks from the outer to the inner ones, then ornaments over them."""
        blocks = self._blocks()
        for left, right, top in blocks:
            self._block(left, right, top)
        left, right, top = blocks[-1]
        self._door(left, right)
        self._ornament(left, right, top)
        if self.rng.random() < 0.6:
            self._sign(left, right, top)
        self._weather()

    def _jittered(self, colours: tuple[Colour, ...], spread: int) -> Colour:
        base = np.array(colours[self.rng.integers(len(colours))])
        return _colour(base + self.rng.integers(-spread, spread + 1, 3))

    def _blocks(self) -> list[tuple[int, int, int]]:
        """Choose one to three blocks as (left, right, top), the main one last."""
        rng = self.rng
        main_width = int(rng.integers(90, 190))
        centre = SIZE // 2 + int(rng.integers(-20, 21))
        main = (centre - main_width // 2, centre + main_width // 2, int(rng.integers(60, 130)))
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
        shade = _shifted(self.wall, int(rng.integers(-16, 17)))
        self._fill(np.array([(left, top), (right, top), (right, _GROUND), (left, _GROUND)]), shade)
        if rng.random() < 0.5:
            self._masonry(left, right, top, _shifted(shade, -20))
        self._roof_over(left, right, top)
        self._windows(left, right, top)
        for y in rng.integers(top, _GROUND - 20, rng.integers(0, 4)):
            height = int(rng.integers(2, 6))
            cv2.rectangle(self.canvas, (left, int(y)), (right, int(y) + height), self.trim, -1)

    def _fill(self, polygon: NDArray[np.int_], colour: Colour) -> None:
        points = polygon.astype(np.int32)
        cv2.fillPoly(self.canvas, [points], colour, cv2.LINE_AA)
        cv2.fillPoly(self.mask, [points], 255, cv2.LINE_AA)

    def _masonry(self, left: int, right: int, top: int, colour: Colour) -> None:
        course = int(self.rng.integers(7, 14))
        length = int(self.rng.integers(12, 26))
        for row, y in enumerate(range(top, _GROUND, course)):
            cv2.line(self.canvas, (left, y), (right, y), colour, 1)
            for x in range(left + (row % 2) * length // 2, right, length):
                cv2.line(self.canvas, (x, y), (x, min(y + course, _GROUND)), colour, 1)

    def _roof_over(self, left: int, right: int, top: int) -> None:
        kind = self.rng.integers(5)
        middle, width = (left + right) // 2, right - left
        height = min(top - 6, int(width * self.rng.uniform(0.2, 0.9)))
        if kind == 0:
            self._fill(np.array([(left - 4, top), (middle, top - height), (right + 4, top)]), self.roof)
        elif kind == 1:
            dome = cv2.ellipse2Poly((middle, top), (width // 2, max(4, height)), 0, 180, 360, 6)
            self._fill(dome, self.roof)
            self._fill(
                np.array([(middle - 2, top - height), (middle, max(2, top - height - 16)), (middle + 2, top)]),
                self.trim,
            )
        elif kind == 2:
            steps = int(self.rng.integers(2, 5))
            for step in range(steps):
                inset = step * width // (2 * steps)
                high = top - (step + 1) * height // steps
                self._fill(
                    np.array([(left + inset, top), (left + inset, high), (right - inset, high), (right - inset, top)]),
                    self.wall,
                )
        elif kind == 3:
            count = int(self.rng.integers(4, 10))
            for x in np.linspace(left, right, count, endpoint=False).astype(int):
                half = max(2, width // (3 * count))
                self._fill(
                    np.array([(x, top), (x, top - 12), (x + 2 * half, top - 12), (x + 2 * half, top)]), self.wall
                )
        else:
            self._fill(
                np.array([(left - 3, top), (left - 3, top - 7), (right + 3, top - 7), (right + 3, top)]), self.trim
            )

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
        for row in range(rows):
            for column in range(columns):
                if blind[row, column]:
                    continue
                centre = (int(left + (column + 0.5) * cell_x), int(top + 8 + (row + 0.5) * cell_y))
                glass = (214, 190, 120) if lit[row, column] else self.glass
                self._window(centre, half_x, half_y, shape, glass)

    def _window(self, centre: tuple[int, int], half_x: int, half_y: int, shape: int, glass: Colour) -> None:
        x, y = centre
        if min(half_x, half_y) < 2:
            return
        if shape == 4:
            cv2.circle(self.canvas, centre, min(half_x, half_y) + 2, self.trim, -1, cv2.LINE_AA)
            cv2.circle(self.canvas, centre, min(half_x, half_y), glass, -1, cv2.LINE_AA)
            return
        cv2.rectangle(self.canvas, (x - half_x - 2, y - half_y - 2), (x + half_x + 2, y + half_y + 2), self.trim, -1)
        cv2.rectangle(self.canvas, (x - half_x, y - half_y), (x + half_x, y + half_y), glass, -1)
        if shape == 1:
            cv2.ellipse(self.canvas, (x, y - half_y), (half_x + 2, half_x + 2), 0, 180, 360, self.trim, -1, cv2.LINE_AA)
            cv2.ellipse(self.canvas, (x, y - half_y), (half_x, half_x), 0, 180, 360, glass, -1, cv2.LINE_AA)
        elif shape == 2:
            cv2.line(self.canvas, (x, y - half_y), (x, y + half_y), self.trim, 2)
            cv2.line(self.canvas, (x - half_x, y), (x + half_x, y), self.trim, 1)
        elif shape == 3:
            peak = np.array([(x - half_x - 3, y - half_y - 2), (x, y - half_y - 10), (x + half_x + 3, y - half_y - 2)])
            cv2.fillPoly(self.canvas, [peak.astype(np.int32)], self.trim, cv2.LINE_AA)

    def _door(self, left: int, right: int) -> None:
        rng = self.rng
        half = int(rng.integers(8, 20))
        x = int(rng.integers(left + half + 4, max(left + half + 5, right - half - 4)))
        height = int(rng.integers(26, 46))
        dark = _shifted(self.roof, -30)
        cv2.rectangle(self.canvas, (x - half - 3, _GROUND - height), (x + half + 3, _GROUND), self.trim, -1)
        cv2.rectangle(self.canvas, (x - half, _GROUND - height + 3), (x + half, _GROUND), dark, -1)
        if rng.random() < 0.5:
            cv2.ellipse(self.canvas, (x, _GROUND - height + 3), (half, half), 0, 180, 360, dark, -1, cv2.LINE_AA)
        if rng.random() < 0.4:
            for step in (-1, 1):
                for column in range(1, int(rng.integers(2, 4))):
                    offset = x + step * (half + 10 * column)
                    cv2.rectangle(self.canvas, (offset - 2, _GROUND - height - 8), (offset + 2, _GROUND), self.trim, -1)

    def _ornament(self, left: int, right: int, top: int) -> None:
        rng = self.rng
        x = int(rng.integers(left + 20, right - 20))
        y = int(rng.integers(top + 14, top + 80))
        radius = int(rng.integers(9, 20))
        kind = rng.integers(5)
        light, dark = _shifted(self.wall, 45), _shifted(self.roof, -20)
        if kind == 0:
            cv2.circle(self.canvas, (x, y), radius, dark, -1, cv2.LINE_AA)
            cv2.circle(self.canvas, (x, y), radius - 3, light, -1, cv2.LINE_AA)
            for angle in rng.uniform(0, 2 * np.pi, 2):
                tip = (x + int(0.7 * radius * np.cos(angle)), y + int(0.7 * radius * np.sin(angle)))
                cv2.line(self.canvas, (x, y), tip, dark, 2, cv2.LINE_AA)
        elif kind == 1:
            petals = int(rng.integers(5, 11))
            cv2.circle(self.canvas, (x, y), radius + 4, self.trim, -1, cv2.LINE_AA)
            for angle in np.linspace(0, 2 * np.pi, petals, endpoint=False):
                spot = (x + int(0.65 * radius * np.cos(angle)), y + int(0.65 * radius * np.sin(angle)))
                cv2.circle(self.canvas, spot, max(2, radius // 4), self.glass, -1, cv2.LINE_AA)
        elif kind == 2:
            for _ in range(int(rng.integers(4, 9))):
                corners = np.array([x, y]) + rng.integers(-radius - 8, radius + 9, (int(rng.integers(3, 6)), 2))
                colour = _SIGNS[rng.integers(len(_SIGNS))]
                cv2.fillPoly(self.canvas, [corners.astype(np.int32)], colour, cv2.LINE_AA)
        elif kind == 3:
            for offset in range(-radius, radius + 1, 7):
                cv2.line(self.canvas, (x + offset, y - radius), (x + offset, y + radius), dark, 2)

    def _sign(self, left: int, right: int, top: int) -> None:
        rng = self.rng
        text = "".join(rng.choice(list(_LETTERS), rng.integers(3, 7)))
        scale = rng.uniform(0.5, 0.85)
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 1)
        x = int(rng.integers(left, max(left + 1, right - width - 8)))
        y = int(rng.integers(top + 30, _GROUND - 50))
        colour = _SIGNS[rng.integers(len(_SIGNS))]
        cv2.rectangle(self.canvas, (x, y - height - 5), (x + width + 8, y + 5), colour, -1)
        cv2.putText(self.canvas, text, (x + 4, y), cv2.FONT_HERSHEY_DUPLEX, scale, (245, 240, 225), 1, cv2.LINE_AA)

    def _weather(self) -> None:
        """Add stains of two scales, as stone and plaster have them."""
        coarse = self.rng.normal(0, 9, (12, 12)).astype(np.float32)
        fine = self.rng.normal(0, 7, (96, 96)).astype(np.float32)
        stains = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        stains += cv2.resize(fine, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        self.canvas = np.clip(self.canvas + stains[..., None], 0, 255).astype(np.uint8)


def _colour(values: NDArray[np.int_]) -> Colour:
    red, green, blue = np.clip(values, 0, 255).tolist()
    return red, green, blue


def _shifted(colour: Colour, amount: int) -> Colour:
    return _colour(np.array(colour) + amount)
