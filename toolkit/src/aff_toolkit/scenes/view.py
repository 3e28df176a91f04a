"""Photographs a landmark: viewpoint, surroundings, light, camera and what stands in the way."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from aff_toolkit.scenes.facade import SIZE, draw_facade

_SEED = 1971
_NOISE_TILES = 8

Pixels = NDArray[np.uint8]
Rng = np.random.Generator


def render_view(instance: int, view: int, *, difficulty: float = 0.5, size: tuple[int, int] = (240, 320)) -> Pixels:
    """Render one photograph of one landmark; a function of its arguments alone.

    Surroundings, light and camera depend on the view and on nothing that tells the landmark.

    Args:
        instance: Which landmark; at least 0.
        view: Which photograph of it; at least 0.
        difficulty: From 0 (frontal, plain light) to 1 (oblique, partly hidden, dark, blurred).
        size: Height and width in pixels.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        ValueError: An argument is out of range.
    """
    if instance < 0 or view < 0:
        raise ValueError(f"instance and view are at least 0, not {instance} and {view}")
    if not 0.0 <= difficulty <= 1.0:
        raise ValueError(f"difficulty lies between 0 and 1, not at {difficulty}")
    if min(size) < 32:
        raise ValueError(f"a view has at least 32 pixels a side, not {size}")
    rng = np.random.default_rng((_SEED, instance, view))
    facade, silhouette = draw_facade(instance)
    scene = _surroundings(rng, size, difficulty)
    homography = _viewpoint(rng, size, difficulty)
    height, width = size
    warped = cv2.warpPerspective(facade, homography, (width, height), flags=cv2.INTER_LINEAR)
    cover = cv2.warpPerspective(silhouette, homography, (width, height), flags=cv2.INTER_LINEAR)
    np.copyto(scene, warped, where=(cover > 127)[..., None])
    _occlude(scene, rng, difficulty)
    return _expose(scene, rng, difficulty)


def _surroundings(rng: Rng, size: tuple[int, int], difficulty: float) -> Pixels:
    """Paint sky, ground and neighbouring buildings."""
    height, width = size
    top, bottom = _pick(rng, _SKIES), _pick(rng, _SKIES)
    blend = np.linspace(0, 1, height)[:, None]
    column = (np.array(top) * (1 - blend) + np.array(bottom) * blend).astype(np.uint8)
    scene = np.repeat(column[:, None], width, axis=1)
    horizon = int(height * rng.uniform(0.72, 0.9))
    for _ in range(int(rng.integers(0, 3 + round(6 * difficulty)))):
        left, across = int(rng.integers(-20, width)), int(rng.integers(20, 90))
        high = int(rng.integers(horizon // 4, horizon))
        wall = tuple(int(c) for c in rng.integers(80, 200) + rng.integers(-18, 19, 3))
        cv2.rectangle(scene, (left, high), (left + across, horizon), wall, -1)
        pane = tuple(int(c * 0.6) for c in wall)
        step = int(rng.integers(10, 22))
        for x in range(left + 5, left + across - 5, step):
            for y in range(high + 6, horizon - 6, step):
                cv2.rectangle(scene, (x, y), (x + step // 2, y + step // 2), pane, -1)
    cv2.rectangle(scene, (0, horizon), (width, height), _pick(rng, _GROUNDS), -1)
    return scene


def _viewpoint(rng: Rng, size: tuple[int, int], difficulty: float) -> NDArray[np.float64]:
    """Return the homography from the facade to the photograph."""
    height, width = size
    extent = height * rng.uniform(1.0 - 0.35 * difficulty, 1.02 + 0.35 * difficulty)
    yaw, pitch = rng.uniform(-1, 1, 2) * difficulty * (0.75, 0.35)
    roll = rng.uniform(-1, 1) * 0.16 * difficulty
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]) * extent
    x, y = corners[:, 0] * np.cos(yaw), corners[:, 1] * np.cos(pitch)
    depth = 1.0 + (corners[:, 0] * np.sin(yaw) + corners[:, 1] * np.sin(pitch)) / (2.0 * extent)
    x, y = x / depth, y / depth
    turned = np.stack([x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)], 1)
    shift = rng.uniform(-1, 1, 2) * (0.22 * width, 0.12 * height) * (0.3 + difficulty)
    target = turned + (width / 2, height / 2) + shift
    source = np.array([(0, 0), (SIZE, 0), (SIZE, SIZE), (0, SIZE)], np.float32)
    return cv2.getPerspectiveTransform(source, target.astype(np.float32))


def _occlude(scene: Pixels, rng: Rng, difficulty: float) -> None:
    """Put trees, poles, cars and people in front."""
    height, width = scene.shape[:2]
    for _ in range(int(rng.poisson(2.5 * difficulty))):
        kind, x = int(rng.integers(4)), int(rng.integers(0, width))
        base = int(height * rng.uniform(0.86, 1.0))
        if kind == 0:
            _tree(scene, rng, x, base)
        elif kind == 1:
            colour = (int(rng.integers(40, 120)),) * 3
            cv2.rectangle(
                scene, (x, int(height * rng.uniform(0, 0.4))), (x + int(rng.integers(3, 8)), base), colour, -1
            )
        elif kind == 2:
            _car(scene, rng, x, base)
        else:
            colour = tuple(int(c) for c in rng.integers(20, 220, 3))
            tall = int(height * rng.uniform(0.12, 0.3))
            cv2.ellipse(scene, (x, base - tall // 2), (tall // 6, tall // 2), 0, 0, 360, colour, -1, cv2.LINE_AA)
            cv2.circle(scene, (x, base - tall), tall // 8, (198, 160, 130), -1, cv2.LINE_AA)


def _tree(scene: Pixels, rng: Rng, x: int, base: int) -> None:
    tall = int(scene.shape[0] * rng.uniform(0.3, 0.7))
    cv2.rectangle(scene, (x - 3, base - tall // 2), (x + 3, base), (84, 62, 44), -1)
    green = np.array(_pick(rng, _LEAVES))
    for dx, dy, shade in rng.uniform(-1, 1, (14, 3)):
        spot = (int(x + dx * tall * 0.26), int(base - tall * 0.68 + dy * tall * 0.26))
        colour = tuple(int(c) for c in np.clip(green + 22 * shade, 0, 255))
        cv2.circle(scene, spot, int(tall * 0.13), colour, -1, cv2.LINE_AA)


def _car(scene: Pixels, rng: Rng, x: int, base: int) -> None:
    long = int(scene.shape[1] * rng.uniform(0.14, 0.26))
    high = long // 3
    colour = tuple(int(c) for c in rng.integers(30, 230, 3))
    cv2.rectangle(scene, (x, base - high), (x + long, base - high // 4), colour, -1)
    cv2.rectangle(scene, (x + long // 5, base - 2 * high + high // 3), (x + 4 * long // 5, base - high), colour, -1)
    cv2.rectangle(
        scene, (x + long // 4, base - 2 * high + high // 2), (x + 3 * long // 4, base - high), (60, 70, 80), -1
    )
    for wheel in (x + long // 5, x + 4 * long // 5):
        cv2.circle(scene, (wheel, base - high // 4), high // 3, (25, 25, 28), -1, cv2.LINE_AA)


def _expose(scene: Pixels, rng: Rng, difficulty: float) -> Pixels:
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
    developed = cv2.LUT(scene, curves[None])
    developed = cv2.multiply(developed, cv2.merge([light] * 3), dtype=cv2.CV_8U)
    blur = rng.uniform(0, 1) * 1.8 * difficulty
    if blur > 0.4:
        developed = cv2.GaussianBlur(developed, (0, 0), blur)
    return _noisy(developed, rng, rng.uniform(0.2, 1) * 14 * difficulty)


def _noisy(image: Pixels, rng: Rng, strength: float) -> Pixels:
    height, width = image.shape[:2]
    tile = _noise_tile(int(rng.integers(_NOISE_TILES)), height, width)
    return cv2.addWeighted(image, 1.0, tile, strength / 16.0, 0.0, dtype=cv2.CV_8U)


@lru_cache(maxsize=_NOISE_TILES)
def _noise_tile(number: int, height: int, width: int) -> NDArray[np.int16]:
    """Draw sensor noise of deviation 16 once: drawing it for every pixel of every view would cost most of the time."""
    return np.random.default_rng((_SEED, number)).normal(0, 16, (height, width, 3)).astype(np.int16)


_SKIES = ((150, 185, 225), (205, 215, 225), (235, 200, 170), (120, 140, 165), (180, 205, 235))
_GROUNDS = ((110, 108, 104), (96, 120, 74), (150, 140, 120), (84, 84, 90))
_LEAVES = ((60, 96, 52), (84, 116, 60), (112, 110, 56), (50, 80, 58))


def _pick(rng: Rng, colours: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int]:
    return colours[rng.integers(len(colours))]
