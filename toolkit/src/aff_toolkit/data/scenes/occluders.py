"""What stands between the camera and a landmark: trees, poles, cars, people."""

from __future__ import annotations

import cv2
import numpy as np

from aff_toolkit.data.scenes.canvas import Pixels
from aff_toolkit.data.scenes.palette import LEAVES, as_colour, pick

_BARK = (84, 62, 44)
_SKIN = (198, 160, 130)
_PANE = (60, 70, 80)
_TYRE = (25, 25, 28)

Rng = np.random.Generator


def occlude(scene: Pixels, rng: Rng, difficulty: float) -> None:
    """Put things in front of a scene (H, W, 3), in place; their number grows with the difficulty."""
    height, width = scene.shape[:2]
    for _ in range(int(rng.poisson(2.5 * difficulty))):
        kind, x = _KINDS[rng.integers(len(_KINDS))], int(rng.integers(0, width))
        kind(scene, rng, x, int(height * rng.uniform(0.86, 1.0)))


def _tree(scene: Pixels, rng: Rng, x: int, base: int) -> None:
    tall = int(scene.shape[0] * rng.uniform(0.3, 0.7))
    cv2.rectangle(scene, (x - 3, base - tall // 2), (x + 3, base), _BARK, -1)
    green = np.array(pick(rng, LEAVES))
    for dx, dy, shade in rng.uniform(-1, 1, (14, 3)):
        spot = (int(x + dx * tall * 0.26), int(base - tall * 0.68 + dy * tall * 0.26))
        cv2.circle(scene, spot, int(tall * 0.13), as_colour(green + 22 * shade), -1, cv2.LINE_AA)


def _pole(scene: Pixels, rng: Rng, x: int, base: int) -> None:
    grey = int(rng.integers(40, 120))
    top = int(scene.shape[0] * rng.uniform(0, 0.4))
    cv2.rectangle(scene, (x, top), (x + int(rng.integers(3, 8)), base), (grey, grey, grey), -1)


def _car(scene: Pixels, rng: Rng, x: int, base: int) -> None:
    long = int(scene.shape[1] * rng.uniform(0.14, 0.26))
    high = long // 3
    colour = as_colour(rng.integers(30, 230, 3))
    roof = base - 2 * high
    cv2.rectangle(scene, (x, base - high), (x + long, base - high // 4), colour, -1)
    cv2.rectangle(scene, (x + long // 5, roof + high // 3), (x + 4 * long // 5, base - high), colour, -1)
    cv2.rectangle(scene, (x + long // 4, roof + high // 2), (x + 3 * long // 4, base - high), _PANE, -1)
    for wheel in (x + long // 5, x + 4 * long // 5):
        cv2.circle(scene, (wheel, base - high // 4), high // 3, _TYRE, -1, cv2.LINE_AA)


def _person(scene: Pixels, rng: Rng, x: int, base: int) -> None:
    colour = as_colour(rng.integers(20, 220, 3))
    tall = int(scene.shape[0] * rng.uniform(0.12, 0.3))
    cv2.ellipse(scene, (x, base - tall // 2), (tall // 6, tall // 2), 0, 0, 360, colour, -1, cv2.LINE_AA)
    cv2.circle(scene, (x, base - tall), tall // 8, _SKIN, -1, cv2.LINE_AA)


_KINDS = (_tree, _pole, _car, _person)
