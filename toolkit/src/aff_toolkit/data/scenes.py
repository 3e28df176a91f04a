"""Renders photographs of procedural landmarks: viewpoint, surroundings, occluders, light and camera."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, partial

import cv2
import numpy as np
from numpy.typing import NDArray

from aff_toolkit.data.photograph import Photograph
from aff_toolkit.data.scene_canvas import GROUNDS, LEAVES, SKIES, Pixels, as_colour, pick
from aff_toolkit.data.scene_facade import SIZE, draw_facade

_SEED = 1971

Rng = np.random.Generator
_NOISE_TILES = 8
_BARK = (84, 62, 44)
_SKIN = (198, 160, 130)
_PANE = (60, 70, 80)
_TYRE = (25, 25, 28)
HELD_OUT = 2_000_000


def render_view(instance: int, view: int, *, difficulty: float = 0.5, size: tuple[int, int] = (240, 320)) -> Pixels:
    """Render one photograph of one landmark; a function of its arguments alone.

    Surroundings, light and camera do not depend on the landmark's appearance.

    Args:
        instance: Which landmark; at least 0.
        view: Which photograph of it; at least 0.
        difficulty: From 0 (frontal, plain light) to 1 (oblique, partly hidden, dark, blurred).
        size: Height and width in pixels; at least 32.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    if instance < 0 or view < 0:
        raise ValueError(f"instance and view are at least 0, not {instance} and {view}")
    if not 0.0 <= difficulty <= 1.0:
        raise ValueError(f"difficulty is between 0 and 1, not {difficulty}")
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
    occlude(scene, rng, difficulty)
    return expose(scene, rng, difficulty)


def _surroundings(rng: Rng, size: tuple[int, int], difficulty: float) -> Pixels:
    """Paint sky, ground and neighbouring buildings."""
    height, width = size
    top, bottom = pick(rng, SKIES), pick(rng, SKIES)
    blend = np.linspace(0, 1, height)[:, None]
    column = (np.array(top) * (1 - blend) + np.array(bottom) * blend).astype(np.uint8)
    scene = np.repeat(column[:, None], width, axis=1)
    horizon = int(height * rng.uniform(0.72, 0.9))
    for _ in range(int(rng.integers(0, 3 + round(6 * difficulty)))):
        left, across = int(rng.integers(-20, width)), int(rng.integers(20, 90))
        high = int(rng.integers(horizon // 4, horizon))
        wall = as_colour(rng.integers(80, 200) + rng.integers(-18, 19, 3))
        cv2.rectangle(scene, (left, high), (left + across, horizon), wall, -1)
        pane = as_colour(0.6 * np.array(wall))
        step = int(rng.integers(10, 22))
        for x in range(left + 5, left + across - 5, step):
            for y in range(high + 6, horizon - 6, step):
                cv2.rectangle(scene, (x, y), (x + step // 2, y + step // 2), pane, -1)
    cv2.rectangle(scene, (0, horizon), (width, height), pick(rng, GROUNDS), -1)
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
    target = turned + np.array([width / 2, height / 2]) + shift
    source = np.array([(0, 0), (SIZE, 0), (SIZE, SIZE), (0, SIZE)], np.float32)
    return np.asarray(cv2.getPerspectiveTransform(source, target.astype(np.float32)), np.float64)


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


def occlude(scene: Pixels, rng: Rng, difficulty: float) -> None:
    """Put things in front of a scene (H, W, 3), in place; their number grows with the difficulty."""
    height, width = scene.shape[:2]
    for _ in range(int(rng.poisson(2.5 * difficulty))):
        kind, x = _OCCLUDERS[rng.integers(len(_OCCLUDERS))], int(rng.integers(0, width))
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


_OCCLUDERS = (_tree, _pole, _car, _person)


def scene_photographs(
    instances: Iterable[int], views: Iterable[int], *, difficulty: tuple[float, float], seed: int
) -> list[Photograph]:
    """Return procedural photographs, view by view of each instance; difficulty is drawn between the bounds.

    View 3 of instance 12 is named `scene-12/3`, and its instance `scene-12`.
    """
    rng = np.random.default_rng(seed)
    views = list(views)
    photographs = []
    for instance in instances:
        difficulties = rng.uniform(*difficulty, size=len(views))
        photographs += [
            Photograph(
                name=f"scene-{instance}/{view}",
                instance=f"scene-{instance}",
                load=partial(render_view, instance, view, difficulty=float(level)),
            )
            for view, level in zip(views, difficulties, strict=True)
        ]
    return photographs
