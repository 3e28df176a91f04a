from itertools import combinations

import numpy as np
import pytest

from aff_toolkit.data.scene_facade import SIZE, draw_facade


def mean_colour(instance: int) -> np.ndarray:
    pixels, silhouette = draw_facade(instance)
    return pixels[silhouette > 127].mean(axis=0)


def outline_difference(one: int, other: int) -> float:
    return float(((draw_facade(one)[1] > 127) != (draw_facade(other)[1] > 127)).mean())


@pytest.mark.parametrize("instance", [0, 1_000_000, 2**40])
def test_a_facade_is_a_square_texture_with_its_silhouette(instance: int) -> None:
    pixels, silhouette = draw_facade(instance)
    assert pixels.shape == (SIZE, SIZE, 3)
    assert silhouette.shape == (SIZE, SIZE)
    assert pixels.dtype == silhouette.dtype == np.uint8


def test_a_facade_drawn_afresh_is_the_same() -> None:
    pixels, silhouette = draw_facade(17)
    draw_facade.cache_clear()
    again, silhouette_again = draw_facade(17)
    np.testing.assert_array_equal(again, pixels)
    np.testing.assert_array_equal(silhouette_again, silhouette)


def test_every_facade_fills_a_good_part_of_its_square_and_never_all_of_it() -> None:
    shares = [(draw_facade(instance)[1] > 127).mean() for instance in range(200)]
    assert min(shares) > 0.15
    assert max(shares) < 0.9


def test_no_two_landmarks_have_one_outline() -> None:
    assert min(outline_difference(one, other) for one, other in combinations(range(30), 2)) > 0.02


def test_landmarks_of_almost_one_colour_differ_in_structure() -> None:
    colours = {instance: mean_colour(instance) for instance in range(40)}
    alike = [pair for pair in combinations(colours, 2) if np.abs(colours[pair[0]] - colours[pair[1]]).max() < 5.0]
    assert alike
    assert all(outline_difference(*pair) > 0.1 for pair in alike)
