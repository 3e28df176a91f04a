"""The soft histogram of colours."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gallery_indexer.features.networks.colour_histogram import BINS, ColourHistogram


def plain(red: int, green: int, blue: int, side: int = 16) -> Tensor:
    return torch.tensor([red, green, blue], dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, side, side)


def described(pixels: Tensor) -> Tensor:
    return ColourHistogram()(pixels)[0]


def test_shares_of_colours_add_up_to_the_whole_photograph() -> None:
    found = described(torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(2)) * 255)
    assert found.shape == (BINS,)
    assert math.isclose(float(found.square().sum()), 1.0, abs_tol=1e-5)


def test_a_colour_is_nearest_to_a_similar_one() -> None:
    red, dark_red, blue = described(plain(200, 30, 30)), described(plain(150, 22, 22)), described(plain(30, 30, 200))
    assert red @ dark_red > red @ blue + 0.3


def test_an_image_of_two_colours_is_between_both() -> None:
    both = torch.cat([plain(220, 220, 220), plain(30, 120, 30)], dim=3)
    shares = described(both).square()
    halves = (described(plain(220, 220, 220)).square() + described(plain(30, 120, 30)).square()) / 2
    torch.testing.assert_close(shares, halves)


def test_the_position_of_a_colour_does_not_matter() -> None:
    left = torch.cat([plain(200, 30, 30), plain(30, 30, 200)], dim=3)
    torch.testing.assert_close(described(left), described(left.flip(3)))


def test_black_and_white_are_finite_and_differ() -> None:
    black, white = described(plain(0, 0, 0)), described(plain(255, 255, 255))
    assert black.isfinite().all()
    assert white.isfinite().all()
    assert black @ white < 0.2


def test_the_smallest_photograph_has_colours() -> None:
    assert described(plain(10, 200, 90, side=8)).isfinite().all()
