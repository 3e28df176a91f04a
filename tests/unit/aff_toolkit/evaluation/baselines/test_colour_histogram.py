"""Photographs are compared by their colours alone."""

from __future__ import annotations

import numpy as np
import pytest

from aff_toolkit.evaluation.baselines.colour_histogram import colour_histograms
from aff_toolkit.evaluation.evaluation_config import BASELINE_DIMENSIONS

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (128, 128, 128)


def stripes(*colours: tuple[int, int, int]) -> np.ndarray:
    """An image of equal stripes, 30 pixels wide each."""
    return np.concatenate([np.full((20, 30, 3), colour, np.uint8) for colour in colours], axis=1)


def box(hue: int, saturation: int, value: int) -> int:
    return (hue * 8 + saturation) * 8 + value


def test_each_component_is_the_root_of_the_share_of_pixels_in_its_box() -> None:
    (found,) = colour_histograms([stripes(RED, RED, BLUE, GREY)])
    # Degrees of hue 0 and 240 of 360 in boxes of 45; full saturation or none; value 255 or 128 in boxes of 32.
    expected = np.zeros(512)
    expected[box(0, 7, 7)], expected[box(5, 7, 7)], expected[box(0, 0, 4)] = 2 / 4, 1 / 4, 1 / 4
    assert found == pytest.approx(np.sqrt(expected))


def test_where_the_colours_stand_and_how_large_the_photograph_is_does_not_matter() -> None:
    one, other, large = colour_histograms(
        [stripes(RED, BLUE), stripes(BLUE, RED), stripes(RED, BLUE).repeat(3, axis=0)]
    )
    assert one @ other == pytest.approx(1.0)
    assert one @ large == pytest.approx(1.0)


def test_photographs_without_a_colour_in_common_have_similarity_zero() -> None:
    red, blue = colour_histograms([stripes(RED), stripes(BLUE)])
    assert red @ blue == 0.0


def test_a_large_photograph_is_reduced_first() -> None:
    # A chequerboard of single pixels has become one colour by then.
    board = np.zeros((1024, 1024, 3), np.uint8)
    board[(np.indices((1024, 1024)).sum(axis=0) % 2) == 1] = 255
    (found,) = colour_histograms([board])
    assert found[box(0, 0, 0)] == 0.0
    assert found[[box(0, 0, 3), box(0, 0, 4)]].max() > 0.9


def test_there_are_as_many_components_as_the_reports_name() -> None:
    found = colour_histograms([stripes(RED), stripes(BLUE, GREY)])
    assert (found.shape, found.dtype) == ((2, BASELINE_DIMENSIONS["colour-histogram"]), np.float32)
