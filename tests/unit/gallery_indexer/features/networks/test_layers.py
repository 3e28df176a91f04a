from __future__ import annotations

import pytest
import torch
from torch import nn

from aff_shared.errors import InvalidParameterError
from gallery_indexer.features.networks.layers import GeM, convolved, device_named, frozen
from gallery_indexer.features.networks.resnet import Depth, ResNet


def test_gem_with_exponent_one_is_the_mean() -> None:
    activations = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    torch.testing.assert_close(GeM(1.0)(activations), torch.tensor([[3.0]]))


def test_gem_with_exponent_three_is_the_cubic_mean() -> None:
    activations = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    expected = ((1 + 8 + 27 + 64) / 4) ** (1 / 3)
    torch.testing.assert_close(GeM(3.0)(activations), torch.tensor([[expected]]))


def test_gem_treats_negative_activations_as_zero() -> None:
    activations = torch.tensor([[[[-5.0, 2.0]]]])
    expected = (8 / 2) ** (1 / 3)
    torch.testing.assert_close(GeM(3.0)(activations), torch.tensor([[expected]]))


def _settled(network: ResNet) -> ResNet:
    """Set running statistics that have an effect, without exploding activations."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.3, 0.6)
    return network.eval()


@pytest.mark.parametrize("floor", [0.0, 0.3])
@pytest.mark.parametrize("with_shortcut", [False, True])
def test_convolved_is_a_convolution_a_norm_a_sum_and_a_clamp(floor: float, with_shortcut: bool) -> None:
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(3).eval()
    nn.init.normal_(norm.running_mean)  # type: ignore[arg-type]
    x, added = torch.randn(2, 2, 5, 5), torch.randn(2, 3, 3, 3)
    with torch.no_grad():
        found = convolved(convolution, norm, x, floor=floor, added=added if with_shortcut else None)
        padded = nn.functional.pad(x, [1] * 4)
        expected = torch.empty(2, 3, 3, 3)
        for b, c, i, j in torch.cartesian_prod(*map(torch.arange, (2, 3, 3, 3))).tolist():
            patch = padded[b, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            value = (patch * convolution.weight[c]).sum()
            value = (value - norm.running_mean[c]) / (norm.running_var[c] + norm.eps).sqrt()  # type: ignore[index]
            value = value + (added[b, c, i, j] if with_shortcut else 0)
            expected[b, c, i, j] = max(value.item(), floor)
    torch.testing.assert_close(found, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("raised", [False, True])
@pytest.mark.parametrize("depth", [18, 50])
def test_one_kernel_on_a_gpu_returns_the_same_as_several_on_a_cpu(depth: Depth, raised: bool, precision: str) -> None:
    torch.manual_seed(0)
    network = _settled(ResNet(depth))
    if raised and depth != 18:
        network.raise_activations(0.014)
    pixels = torch.randn(2, 3, 96, 128)
    with torch.inference_mode():
        expected = network(pixels)
        found = frozen(network, torch.device("cuda"), {"precision": precision})(pixels.cuda()).float().cpu()
    difference = (found - expected).abs().max() / expected.abs().max()
    assert difference < (0.002 if precision == "fp32" else 0.05)  # convolutions in float32 may take TF32
    assert expected.std() > 0.01


@pytest.mark.parametrize("name", ["tpu", "", "meta", *([] if torch.cuda.is_available() else ["cuda", "cuda:1"])])
def test_a_device_that_does_not_exist_is_reported(name: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"'{name}'") as caught:
        device_named(name)
    assert caught.value.item == "device"
