from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aff_toolkit.data.scenes.view import render_view

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
def test_a_view_is_rgb_bytes_of_the_wanted_size(size: tuple[int, int]) -> None:
    image = render_view(3, 1, size=size)
    assert image.shape == (*size, 3)
    assert image.dtype == np.uint8


def test_the_same_arguments_give_the_same_photograph() -> None:
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
def test_another_view_or_another_landmark_gives_another_photograph(instance: int, view: int) -> None:
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
def test_a_negative_number_is_refused(instance: int, view: int) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        render_view(instance, view)


@pytest.mark.parametrize("difficulty", [-0.01, 1.01, float("nan")])
def test_a_difficulty_outside_0_to_1_is_refused(difficulty: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        render_view(0, 0, difficulty=difficulty)


@pytest.mark.parametrize("size", [(31, 320), (240, 0)])
def test_a_size_below_32_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="32 pixels"):
        render_view(0, 0, size=size)
