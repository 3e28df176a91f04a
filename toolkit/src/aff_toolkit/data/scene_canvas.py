"""Canvas and palette of procedural landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Pixels = NDArray[np.uint8]
Point = tuple[int, int]
Colour = tuple[int, int, int]
WALLS: tuple[Colour, ...] = (
    (196, 178, 150),
    (172, 148, 122),
    (158, 92, 72),
    (205, 200, 190),
    (214, 190, 140),
    (140, 140, 146),
    (188, 160, 156),
    (150, 160, 140),
)
ROOFS: tuple[Colour, ...] = ((92, 70, 62), (70, 78, 88), (140, 72, 52), (88, 108, 92))
GLASS: tuple[Colour, ...] = ((48, 58, 74), (70, 86, 100), (34, 36, 44), (96, 104, 96))
SIGNS: tuple[Colour, ...] = ((176, 40, 36), (30, 70, 140), (28, 110, 70), (220, 180, 60), (60, 40, 90))
SKIES: tuple[Colour, ...] = ((150, 185, 225), (205, 215, 225), (235, 200, 170), (120, 140, 165), (180, 205, 235))
GROUNDS: tuple[Colour, ...] = ((110, 108, 104), (96, 120, 74), (150, 140, 120), (84, 84, 90))
LEAVES: tuple[Colour, ...] = ((60, 96, 52), (84, 116, 60), (112, 110, 56), (50, 80, 58))


class Canvas:
    """Pixels (S, S, 3) uint8 RGB and silhouette (S, S) uint8, 255 inside."""

    def __init__(self, size: int) -> None:
        self.pixels: Pixels = np.zeros((size, size, 3), np.uint8)
        self.silhouette: Pixels = np.zeros((size, size), np.uint8)

    def build(self, corners: Sequence[Point], colour: Colour) -> None:
        """Draw a polygon that belongs to the silhouette."""
        polygon = np.array(corners, dtype=np.int32)
        cv2.fillPoly(self.pixels, [polygon], colour, cv2.LINE_AA)
        cv2.fillPoly(self.silhouette, [polygon], 255, cv2.LINE_AA)

    def build_box(self, left: int, top: int, right: int, bottom: int, colour: Colour) -> None:
        """Draw an upright rectangle that belongs to the silhouette."""
        self.build([(left, bottom), (left, top), (right, top), (right, bottom)], colour)

    def paint(self, corners: Sequence[Point], colour: Colour) -> None:
        """Draw a polygon on the front."""
        cv2.fillPoly(self.pixels, [np.array(corners, dtype=np.int32)], colour, cv2.LINE_AA)

    def box(self, left: int, top: int, right: int, bottom: int, colour: Colour) -> None:
        """Draw an upright rectangle on the front; its edges belong to it."""
        cv2.rectangle(self.pixels, (left, top), (right, bottom), colour, -1)

    def line(self, start: Point, end: Point, colour: Colour, thickness: int = 1) -> None:
        """Draw a line on the front."""
        cv2.line(self.pixels, start, end, colour, thickness)

    def disc(self, centre: Point, radius: int, colour: Colour) -> None:
        """Draw a disc on the front."""
        cv2.circle(self.pixels, centre, radius, colour, -1, cv2.LINE_AA)

    def arch(self, centre: Point, radius: int, colour: Colour) -> None:
        """Draw the upper half of a disc on the front."""
        cv2.ellipse(self.pixels, centre, (radius, radius), 0, 180, 360, colour, -1, cv2.LINE_AA)


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one landmark."""

    wall: Colour
    trim: Colour
    roof: Colour
    glass: Colour

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Choose the colours of a landmark."""
        wall = _jittered(rng, WALLS, 14)
        trim = shifted(wall, int(rng.integers(24, 52)) * int(rng.choice([-1, 1])))
        return cls(wall, trim, roof=_jittered(rng, ROOFS, 12), glass=_jittered(rng, GLASS, 10))


def pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """Choose one of the colours."""
    return colours[rng.integers(len(colours))]


def as_colour(values: ArrayLike) -> Colour:
    """Round three numbers down to a colour, clipped to what a pixel holds."""
    red, green, blue = np.clip(values, 0, 255).astype(int).tolist()
    return red, green, blue


def shifted(colour: Colour, amount: int) -> Colour:
    """Make a colour lighter, or darker where the amount is negative."""
    return as_colour(np.array(colour) + amount)


def _jittered(rng: np.random.Generator, colours: tuple[Colour, ...], spread: int) -> Colour:
    return as_colour(np.array(pick(rng, colours)) + rng.integers(-spread, spread + 1, 3))
