"""Draws the front of a landmark: a texture and a silhouette that depend on the instance alone."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from aff_toolkit.data.scene_canvas import SIGNS, Canvas, Colour, Palette, Pixels, Point, pick, shifted

Rng = np.random.Generator

SIZE = 288
_GROUND = SIZE - 4
_CACHED = 512
_SEED = 20230618
_LIT_PANE = (214, 190, 120)
_LETTERS = "ABCDEFGHKLMNOPRSTUVXYZ"
_FONT = cv2.FONT_HERSHEY_DUPLEX
_LETTERING = (245, 240, 225)


@lru_cache(maxsize=_CACHED)
def draw_facade(instance: int) -> tuple[Pixels, Pixels]:
    """Draw the landmark of a number of at least 0.

    Returns:
        Its texture (SIZE, SIZE, 3) uint8 RGB, and its silhouette (SIZE, SIZE) uint8, 255 inside.
    """
    painter = _FacadePainter(np.random.default_rng((_SEED, instance)))
    painter.draw()
    return painter.canvas.pixels, painter.canvas.silhouette


class _FacadePainter:
    def __init__(self, rng: Rng) -> None:
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


def draw_roof(canvas: Canvas, rng: Rng, palette: Palette, left: int, right: int, top: int) -> None:
    """Put a roof of some kind on a block."""
    kind = _ROOFS[rng.integers(len(_ROOFS))]
    height = min(top - 6, int((right - left) * rng.uniform(0.2, 0.9)))
    kind(canvas, rng, palette, left, right, top, height)


def _gable(canvas: Canvas, _rng: Rng, palette: Palette, left: int, right: int, top: int, height: int) -> None:
    canvas.build([(left - 4, top), ((left + right) // 2, top - height), (right + 4, top)], palette.roof)


def _dome(canvas: Canvas, _rng: Rng, palette: Palette, left: int, right: int, top: int, height: int) -> None:
    middle = (left + right) // 2
    outline = cv2.ellipse2Poly((middle, top), ((right - left) // 2, max(4, height)), 0, 180, 360, 6)
    canvas.build([(int(x), int(y)) for x, y in outline], palette.roof)
    peak = max(2, top - height - 16)
    canvas.build([(middle - 2, top - height), (middle, peak), (middle + 2, top)], palette.trim)


def _steps(canvas: Canvas, rng: Rng, palette: Palette, left: int, right: int, top: int, height: int) -> None:
    steps = int(rng.integers(2, 5))
    for step in range(steps):
        inset = step * (right - left) // (2 * steps)
        canvas.build_box(left + inset, top - (step + 1) * height // steps, right - inset, top, palette.wall)


def _battlements(canvas: Canvas, rng: Rng, palette: Palette, left: int, right: int, top: int, _height: int) -> None:
    count = int(rng.integers(4, 10))
    half = max(2, (right - left) // (3 * count))
    for x in np.linspace(left, right, count, endpoint=False).astype(int).tolist():
        canvas.build_box(x, top - 12, x + 2 * half, top, palette.wall)


def _flat(canvas: Canvas, _rng: Rng, palette: Palette, left: int, right: int, top: int, _height: int) -> None:
    canvas.build_box(left - 3, top - 7, right + 3, top, palette.trim)


_ROOFS = (_gable, _dome, _steps, _battlements, _flat)


def draw_ornament(canvas: Canvas, rng: Rng, palette: Palette, left: int, right: int, top: int) -> None:
    """Draw a clock, a rose window, a mural, a grille, or nothing, on the main block."""
    centre = (int(rng.integers(left + 20, right - 20)), int(rng.integers(top + 14, top + 80)))
    radius = int(rng.integers(9, 20))
    kind = int(rng.integers(len(_ORNAMENTS) + 1))
    if kind < len(_ORNAMENTS):
        _ORNAMENTS[kind](canvas, rng, palette, centre, radius)


def draw_sign(canvas: Canvas, rng: Rng, left: int, right: int, top: int, bottom: int) -> None:
    """Draw a sign with letters somewhere on the main block."""
    text = "".join(rng.choice(list(_LETTERS), rng.integers(3, 7)))
    scale = rng.uniform(0.5, 0.85)
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    x = int(rng.integers(left, max(left + 1, right - width - 8)))
    y = int(rng.integers(top + 30, bottom - 50))
    canvas.box(x, y - height - 5, x + width + 8, y + 5, pick(rng, SIGNS))
    cv2.putText(canvas.pixels, text, (x + 4, y), _FONT, scale, _LETTERING, 1, cv2.LINE_AA)


def _clock(canvas: Canvas, rng: Rng, palette: Palette, centre: Point, radius: int) -> None:
    dark = shifted(palette.roof, -20)
    canvas.disc(centre, radius, dark)
    canvas.disc(centre, radius - 3, shifted(palette.wall, 45))
    for angle in rng.uniform(0, 2 * np.pi, 2):
        cv2.line(canvas.pixels, centre, _on_circle(centre, 0.7 * radius, angle), dark, 2, cv2.LINE_AA)


def _rose_window(canvas: Canvas, rng: Rng, palette: Palette, centre: Point, radius: int) -> None:
    petals = int(rng.integers(5, 11))
    canvas.disc(centre, radius + 4, palette.trim)
    for angle in np.linspace(0, 2 * np.pi, petals, endpoint=False):
        canvas.disc(_on_circle(centre, 0.65 * radius, angle), max(2, radius // 4), palette.glass)


def _mural(canvas: Canvas, rng: Rng, _palette: Palette, centre: Point, radius: int) -> None:
    for _ in range(int(rng.integers(4, 9))):
        corners = np.array(centre) + rng.integers(-radius - 8, radius + 9, (int(rng.integers(3, 6)), 2))
        canvas.paint(corners.tolist(), pick(rng, SIGNS))


def _grille(canvas: Canvas, _rng: Rng, palette: Palette, centre: Point, radius: int) -> None:
    x, y = centre
    for offset in range(-radius, radius + 1, 7):
        start, end = (x + offset, y - radius), (x + offset, y + radius)
        canvas.line(start, end, shifted(palette.roof, -20), 2)


def _on_circle(centre: Point, radius: float, angle: float) -> Point:
    return centre[0] + int(radius * np.cos(angle)), centre[1] + int(radius * np.sin(angle))


_ORNAMENTS = (_clock, _rose_window, _mural, _grille)
