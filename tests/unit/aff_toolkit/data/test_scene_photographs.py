"""Procedural photographs as a training set."""

from __future__ import annotations

import numpy as np

from aff_toolkit.data.scene_photographs import scene_photographs
from aff_toolkit.data.scenes.view import render_view


def test_scenes_come_view_by_view_of_each_landmark() -> None:
    found = scene_photographs([7, 3], [1, 4], difficulty=(0.25, 0.25), seed=0)
    assert [photograph.instance for photograph in found] == ["scene-7", "scene-7", "scene-3", "scene-3"]
    for photograph, (landmark, view) in zip(found, [(7, 1), (7, 4), (3, 1), (3, 4)], strict=True):
        np.testing.assert_array_equal(photograph.load(), render_view(landmark, view, difficulty=0.25))


def test_the_seed_draws_the_difficulty_of_each_view() -> None:
    def pixels(seed: int) -> np.ndarray:
        return scene_photographs([7], [1], difficulty=(0.0, 1.0), seed=seed)[0].load()

    np.testing.assert_array_equal(pixels(1), pixels(1))
    assert not np.array_equal(pixels(1), pixels(2))
