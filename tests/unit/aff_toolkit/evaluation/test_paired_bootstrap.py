"""How sure a difference is."""

from __future__ import annotations

import numpy as np
import pytest

from aff_toolkit.evaluation.paired_bootstrap import bootstrap_interval, difference


def test_a_constant_difference_is_sure() -> None:
    second = np.linspace(0.1, 0.5, 20)
    assert bootstrap_interval(second + 0.2, second, difference) == pytest.approx((0.2, 0.2))


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    first = np.array([1.0, 0.0] * 200)
    low, high = bootstrap_interval(first, np.zeros(400), difference)
    assert low == pytest.approx(0.5 - 1.96 * 0.5 / 20, abs=0.01)
    assert high == pytest.approx(0.5 + 1.96 * 0.5 / 20, abs=0.01)


def test_queries_for_one_thing_count_as_one_draw() -> None:
    first = np.repeat([1.0, 0.0, 1.0, 0.0], 100)
    things = [str(number // 100) for number in range(400)]
    low, high = bootstrap_interval(first, np.zeros(400), difference, groups=things)
    assert (low, high) == (0.0, 1.0)  # four draws: none or all of them with the figure of 1 in every sixteenth sample


def test_things_with_more_queries_weigh_more() -> None:
    first, things = np.array([1.0] * 30 + [0.0] * 10), ["a"] * 30 + ["b"] * 10
    low, high = bootstrap_interval(first, np.zeros(40), difference, groups=things)
    assert (low, high) == (0.0, 1.0)
    assert bootstrap_interval(first, first - 0.25, difference, groups=things) == pytest.approx((0.25, 0.25))
