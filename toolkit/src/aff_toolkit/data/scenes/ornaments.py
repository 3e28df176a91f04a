"""Ornaments on a landmark's front: what tells it from a similar one."""

from __future__ import annotations

import cv2
import numpy as np

from aff_toolkit.data.scenes.canvas import Canvas, Point
from aff_toolkit.data.scenes.palette import SIGNS, Palette, pick, shifted

_LETTERS = "ABCDEFGHKLMNOPRSTUVXYZ"
_FONT = cv2.FONT_HERSHEY_DUPLEX
_LETTERING = (245, 240, 225)

Rng = np.random.Generator


def draw_ornament(canvas: Canvas, rng: Rng, palette: Palette, left: int, right: int, top: int) -> None:
    """Draw a clock, a rose window, a mural, a grille, or nothing, on the main block."""
    centre = (int(rng.integers(left + 20, right - 20)), int(rng.integers(top + 14, top + 80)))
    radius = int(rng.integers(9, 20))
    kind = int(rng.integers(len(_KINDS) + 1))
    if kind < len(_KINDS):
        _KINDS[kind](canvas, rng, palette, centre, radius)


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


_KINDS = (_clock, _rose_window, _mural, _grille)
