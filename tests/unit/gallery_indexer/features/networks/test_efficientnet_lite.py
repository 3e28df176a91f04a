"""EfficientNet-Lite against its released PyTorch port, for photographs of any shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aff_toolkit.models.pretrained_weights import efficientnet_lite_name
from aff_toolkit.weights.released_weights import read_packaged_weights
from gallery_indexer.features.networks.efficientnet_lite import EfficientNetLite, Variant
from gallery_indexer.features.networks.layers import frozen
from tests.support.released_efficientnet_lite import packaged_efficientnet_lite, released_efficientnet_lite

VARIANTS: tuple[Variant, ...] = ("lite0", "lite1", "lite2")


def with_released_weights(variant: Variant) -> EfficientNetLite:
    network = EfficientNetLite(variant).eval()
    found = read_packaged_weights(packaged_efficientnet_lite(variant))
    network.load_state_dict({own: tensor for name, tensor in found.items() if (own := efficientnet_lite_name(name))})
    return network


def pixels_of(height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=generator)


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_output_is_the_released_networks_at_any_height_and_width(variant: Variant) -> None:
    released, network = released_efficientnet_lite(variant), with_released_weights(variant)
    for height, width in ((224, 224), (200, 176), (97, 33), (32, 32)):
        pixels = pixels_of(height, width)
        expected = released.extract_features((pixels.float() - 127) / 128)
        found = network(pixels)
        assert found.shape == (2, 1280, -(-height // 32), -(-width // 32))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.max()))


@torch.no_grad()
def test_the_frozen_network_has_no_normalisation_and_the_same_output() -> None:
    network, pixels = with_released_weights("lite0"), pixels_of(100, 64)
    expected = network(pixels)
    folded = frozen(network, torch.device("cpu"), {})
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(pixels), expected, rtol=0, atol=1e-4 * float(expected.max()))


def test_the_first_blocks_can_be_frozen() -> None:
    network = EfficientNetLite("lite0")
    kept = nn.ModuleList([network.conv_stem, network.bn_stem, *network.blocks[:6]]).requires_grad_(False)
    network(pixels_of(32, 32)).sum().backward()
    assert all(parameter.grad is None for parameter in kept.parameters())
    assert all(parameter.grad is not None for parameter in network.blocks[6:].parameters())


def test_a_classifier_and_unknown_weights_are_rejected() -> None:
    assert efficientnet_lite_name("_blocks.3._bn0.running_mean") == "blocks.3.bn_expand.running_mean"
    assert efficientnet_lite_name("_fc.weight") is None
    assert efficientnet_lite_name("net.block1.0.layer.0.weight") is None
