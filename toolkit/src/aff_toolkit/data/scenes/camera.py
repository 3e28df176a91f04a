"""Light and camera: how a scene becomes a photograph."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from aff_toolkit.data.scenes.canvas import Pixels

_SEED = 1971
_NOISE_TILES = 8

Rng = np.random.Generator


def expose(scene: Pixels, rng: Rng, difficulty: float) -> Pixels:
    """Apply light, shadow, colour cast, contrast, blur and sensor noise."""
    height, width = scene.shape[:2]
    slope_x, slope_y = rng.uniform(-1, 1, 2) * 0.5 * difficulty
    light = 1.0 + slope_x * np.linspace(-1, 1, width)[None] + slope_y * np.linspace(-1, 1, height)[:, None]
    light = light.astype(np.float32)
    if rng.random() < 0.7 * difficulty:
        corners = rng.uniform(-0.2, 1.2, (4, 2)) * (width, height)
        cv2.fillConvexPoly(light, cv2.convexHull(corners.astype(np.int32)), 0.55)
        light = cv2.blur(light, (9, 9))
    gain = np.exp(rng.uniform(-1, 1) * 0.45 * difficulty)
    cast = 1.0 + rng.uniform(-1, 1, 3) * 0.18 * difficulty
    gamma = np.exp(rng.uniform(-1, 1) * 0.4 * difficulty)
    levels = 255.0 * (np.arange(256) / 255.0) ** gamma
    curves = np.clip(levels[:, None] * (gain * cast)[None], 0, 255).astype(np.uint8)
    developed = cv2.multiply(cv2.LUT(scene, curves[None]), cv2.merge([light] * 3), dtype=cv2.CV_8U)
    blur = rng.uniform(0, 1) * 1.8 * difficulty
    if blur > 0.4:
        developed = cv2.GaussianBlur(developed, (0, 0), blur)
    return _noisy(np.asarray(developed, np.uint8), rng, rng.uniform(0.2, 1) * 14 * difficulty)


def _noisy(image: Pixels, rng: Rng, strength: float) -> Pixels:
    height, width = image.shape[:2]
    tile = _noise_tile(int(rng.integers(_NOISE_TILES)), height, width)
    return np.asarray(cv2.addWeighted(image, 1.0, tile, strength / 16.0, 0.0, dtype=cv2.CV_8U), np.uint8)


@lru_cache(maxsize=_NOISE_TILES)
def _noise_tile(number: int, height: int, width: int) -> NDArray[np.int16]:
    """Draw sensor noise of deviation 16 once: drawing it for every pixel of every view would cost most of the time."""
    return np.random.default_rng((_SEED, number)).normal(0, 16, (height, width, 3)).astype(np.int16)
