"""Every mixer, on images that lack any of their features."""

from __future__ import annotations

from functools import cache
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from aff_shared.bundles.bundle import FeatureSpec, MixerKind, MixerSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.mixers.build_mixer import build_mixer

FEATURES = (
    FeatureSpec(name="whole", kind="global", dimension=8, max_tokens=1),
    FeatureSpec(name="other", kind="global", dimension=6, max_tokens=1),
    FeatureSpec(name="parts", kind="local", dimension=5, max_tokens=3),
    FeatureSpec(name="points", kind="local", dimension=4, max_tokens=2),
)
D = 8
KINDS: tuple[MixerKind, ...] = tuple(kind for kind in get_args(MixerKind) if kind != "identity")

Counts = list[tuple[int, ...]]

# Tokens that each of some images has, of every feature.
counts_of_images = st.lists(
    st.tuples(*(st.integers(0, feature.max_tokens) for feature in FEATURES)), min_size=1, max_size=4
)


@cache
def mixer(kind: MixerKind, features: tuple[FeatureSpec, ...] = FEATURES) -> nn.Module:
    torch.manual_seed(3)
    return build_mixer(features, MixerSpec(weights="m.safetensors", kind=kind), D).eval()


def batches(images: Counts, absent: float = 0.0) -> dict[str, FeatureBatch]:
    """Return a batch with so many tokens of every feature for each image; missing tokens have the value `absent`."""
    source = torch.Generator().manual_seed(4)
    found = {}
    for place, feature in enumerate(FEATURES):
        values = torch.randn(len(images), feature.max_tokens, feature.dimension, generator=source)
        mask = torch.tensor([[token < image[place] for token in range(feature.max_tokens)] for image in images])
        found[feature.name] = FeatureBatch(values.masked_fill(~mask[..., None], absent), mask)
    return found


@pytest.mark.parametrize("kind", KINDS)
@given(images=counts_of_images)
def test_whatever_an_image_lacks_its_embedding_has_unit_length(kind: MixerKind, images: Counts) -> None:
    with torch.no_grad():
        found = mixer(kind)(batches(images))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(len(images)))


@pytest.mark.parametrize("kind", KINDS)
@given(images=counts_of_images)
def test_the_value_of_an_absent_token_does_not_matter(kind: MixerKind, images: Counts) -> None:
    with torch.no_grad():
        found, other = mixer(kind)(batches(images)), mixer(kind)(batches(images, absent=9.0))
    torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_where_an_image_lacks_everything(kind: MixerKind) -> None:
    network = mixer(kind)
    network.zero_grad()
    network(batches([(0, 0, 0, 0), (1, 1, 3, 2)]))[:, 0].sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters() if weight.grad is not None)


def test_the_identity_mixer_returns_zeros_for_an_image_without_its_feature() -> None:
    found = mixer("identity", FEATURES[:1])(batches([(0, 0, 0, 0), (1, 0, 0, 0)]))
    assert not found[0].any()
    torch.testing.assert_close(found[1].norm(), torch.tensor(1.0))
