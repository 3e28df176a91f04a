from __future__ import annotations

import hashlib
import subprocess
import sys
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aff_toolkit.data.scene_facade import draw_facade
from aff_toolkit.data.scenes import expose, occlude, render_view, scene_photographs

LANDMARKS = range(8)


def keypoints(instance: int, view: int, difficulty: float) -> NDArray[np.float32]:
    grey = cv2.cvtColor(render_view(instance, view, difficulty=difficulty), cv2.COLOR_RGB2GRAY)
    return cv2.SIFT_create().detectAndCompute(grey, None)[1]


def shared_keypoints(difficulty: float) -> NDArray[np.int64]:
    """Count Lowe's ratio-test matches between the first views (rows) and the second views (columns)."""
    first = [keypoints(instance, 0, difficulty) for instance in LANDMARKS]
    second = [keypoints(instance, 1, difficulty) for instance in LANDMARKS]
    matcher = cv2.BFMatcher()
    return np.array(
        [[sum(m.distance < 0.75 * n.distance for m, n in matcher.knnMatch(a, b, k=2)) for b in second] for a in first]
    )


@pytest.mark.parametrize("size", [(240, 320), (32, 32), (200, 96)])
def test_a_view_is_rgb_bytes_of_the_requested_size(size: tuple[int, int]) -> None:
    image = render_view(3, 1, size=size)
    assert image.shape == (*size, 3)
    assert image.dtype == np.uint8


def test_the_same_arguments_return_the_same_photograph() -> None:
    np.testing.assert_array_equal(render_view(5, 2, difficulty=0.7), render_view(5, 2, difficulty=0.7))


def test_neither_the_order_of_calls_nor_opencv_threads_change_a_photograph() -> None:
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        forward = [render_view(instance, 4, difficulty=0.9) for instance in LANDMARKS]
        cv2.setNumThreads(4)
        backward = [render_view(instance, 4, difficulty=0.9) for instance in reversed(LANDMARKS)]
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(forward, backward[::-1])


@pytest.mark.parametrize(("instance", "view"), [(5, 3), (6, 2)])
def test_another_view_or_another_landmark_returns_another_photograph(instance: int, view: int) -> None:
    difference = np.abs(render_view(5, 2).astype(int) - render_view(instance, view))
    assert difference.mean() > 5.0


def test_two_views_of_a_landmark_share_more_keypoints_than_views_of_two_landmarks() -> None:
    shared = shared_keypoints(difficulty=0.2)
    assert (shared.argmax(axis=1) == np.arange(len(LANDMARKS))).all()


def test_the_harder_the_views_the_fewer_keypoints_they_share() -> None:
    shared = [np.trace(shared_keypoints(difficulty)) for difficulty in (0.0, 0.5, 1.0)]
    assert all(harder < 0.7 * easier for easier, harder in pairwise(shared))


def test_the_sky_changes_from_view_to_view_of_one_landmark() -> None:
    corners = {tuple(render_view(5, view, difficulty=0.0)[0, 0].tolist()) for view in range(20)}
    assert len(corners) >= 4


@pytest.mark.parametrize(("instance", "view"), [(-1, 0), (0, -1)])
def test_a_negative_number_is_rejected(instance: int, view: int) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        render_view(instance, view)


@pytest.mark.parametrize("difficulty", [-0.01, 1.01, float("nan")])
def test_a_difficulty_outside_0_to_1_is_rejected(difficulty: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        render_view(0, 0, difficulty=difficulty)


@pytest.mark.parametrize("size", [(31, 320), (240, 0)])
def test_a_size_below_32_pixels_is_rejected(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="32 pixels"):
        render_view(0, 0, size=size)


GREY = np.full((60, 80, 3), 120, np.uint8)


def exposed(seed: int, difficulty: float) -> np.ndarray:
    return expose(GREY, np.random.default_rng(seed), difficulty).astype(int)


def test_at_difficulty_0_a_photograph_shows_the_scene_as_it_is() -> None:
    ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    # One level: the exposure curve is rounded down.
    assert np.abs(expose(ramp, np.random.default_rng(0), 0.0).astype(int) - ramp).max() <= 1


def test_light_and_colour_stray_further_at_a_higher_difficulty() -> None:
    strayed = [np.mean([np.abs(exposed(seed, level) - 120).mean() for seed in range(30)]) for level in (0.2, 0.6, 1.0)]
    assert strayed[0] < strayed[1] < strayed[2]


def test_a_colour_cast_tints_a_grey_scene() -> None:
    spread = [np.ptp(exposed(seed, 1.0).mean(axis=(0, 1))) for seed in range(10)]
    assert np.median(spread) > 5.0


def test_the_scene_itself_is_left_as_it_was() -> None:
    exposed(3, 1.0)
    assert (GREY == 120).all()


def hidden_share(seed: int, difficulty: float) -> float:
    scene = np.full((240, 320, 3), 7, np.uint8)
    occlude(scene, np.random.default_rng(seed), difficulty)
    return float((scene != 7).any(axis=2).mean())


def test_at_difficulty_0_nothing_is_occluded() -> None:
    assert hidden_share(1, 0.0) == 0.0


def test_more_is_hidden_at_a_higher_difficulty_and_most_stays_visible() -> None:
    hidden = [np.mean([hidden_share(seed, level) for seed in range(40)]) for level in (0.2, 0.6, 1.0)]
    assert 0.0 < hidden[0] < hidden[1] < hidden[2] < 0.5


def test_another_process_with_nothing_cached_renders_the_same_photograph() -> None:
    program = (
        "import hashlib; from aff_toolkit.data.scenes import render_view; "
        "print(hashlib.sha256(render_view(7, 2).tobytes()).hexdigest())"
    )
    fresh = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == hashlib.sha256(render_view(7, 2).tobytes()).hexdigest()


def test_rendering_leaves_the_cached_landmark_as_it_is() -> None:
    texture, silhouette = (part.copy() for part in draw_facade(5))
    for view in range(5):
        render_view(5, view, difficulty=1.0)
    np.testing.assert_array_equal(draw_facade(5)[0], texture)
    np.testing.assert_array_equal(draw_facade(5)[1], silhouette)


def test_the_sky_does_not_depend_on_the_landmark() -> None:
    """At difficulty 0 no landmark reaches the upper left corner, which shows the surroundings alone."""
    sky = np.array(
        [
            [render_view(landmark, view, difficulty=0.0)[:8, :8].mean((0, 1)) for view in range(6)]
            for landmark in range(40)
        ]
    )
    within = np.abs(sky[:, :-1] - sky[:, 1:]).mean()
    between = np.abs(sky[:-1] - sky[1:]).mean()
    assert within == pytest.approx(between, rel=0.2)


def test_scenes_are_listed_view_by_view_of_each_landmark() -> None:
    found = scene_photographs([7, 3], [1, 4], difficulty=(0.25, 0.25), seed=0)
    assert [photograph.instance for photograph in found] == ["scene-7", "scene-7", "scene-3", "scene-3"]
    for photograph, (landmark, view) in zip(found, [(7, 1), (7, 4), (3, 1), (3, 4)], strict=True):
        np.testing.assert_array_equal(photograph.load(), render_view(landmark, view, difficulty=0.25))


def test_the_seed_draws_the_difficulty_of_each_view() -> None:
    def pixels(seed: int) -> np.ndarray:
        return scene_photographs([7], [1], difficulty=(0.0, 1.0), seed=seed)[0].load()

    np.testing.assert_array_equal(pixels(1), pixels(1))
    assert not np.array_equal(pixels(1), pixels(2))
