"""Colours of landmarks. Walls of different landmarks share their hues, so colour alone does not tell two apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

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
SKIES: tuple[Colour, ...] = (
    (150, 185, 225),
    (205, 215, 225),
    (235, 200, 170),
    (120, 140, 165),
    (180, 205, 235),
)
GROUNDS: tuple[Colour, ...] = ((110, 108, 104), (96, 120, 74), (150, 140, 120), (84, 84, 90))
LEAVES: tuple[Colour, ...] = ((60, 96, 52), (84, 116, 60), (112, 110, 56), (50, 80, 58))


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
