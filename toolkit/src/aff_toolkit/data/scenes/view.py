"""Photographs a landmark: viewpoint, surroundings, light, camera and what stands in the way."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from aff_toolkit.data.scenes.camera import expose
from aff_toolkit.data.scenes.canvas import Pixels
from aff_toolkit.data.scenes.facade import SIZE, draw_facade
from aff_toolkit.data.scenes.occluders import occlude
from aff_toolkit.data.scenes.palette import GROUNDS, SKIES, as_colour, pick

_SEED = 1971

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
