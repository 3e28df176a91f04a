"""Frozen networks in ONNX Runtime against torch."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from gallery_indexer.features.networks.efficientnet_lite import EfficientNetLite
from gallery_indexer.features.networks.layers import frozen
from gallery_indexer.features.networks.onnx_network import OnnxNetwork
from gallery_indexer.features.networks.xfeat import XFeat

CPU = torch.device("cpu")
SIZES = [(64, 96), (96, 64), (33, 75)]


def network_of(kind: type[nn.Module], *arguments: str) -> nn.Module:
    torch.manual_seed(0)
    return frozen(kind(*arguments), CPU, {})


def noise(images: int, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 255 * torch.rand(images, 3, *size, generator=generator)


def tensors(output: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return (output,) if isinstance(output, Tensor) else output


def runs_in_onnx_runtime(network: OnnxNetwork) -> bool:
    return network._session is not None


class Unexportable(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return torch.lgamma(pixels.mean(dim=(1, 2, 3)))[:, None]


class TracedWrongly(nn.Module):
    """Python's arithmetic on a value: the trace has the value of the first image."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean(dim=(2, 3)) * float(pixels[-1].mean())


class Squares(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        size = pixels.shape[-1]
        return pixels.reshape(len(pixels), 3, int(size), int(size)).mean(dim=(2, 3))


@torch.inference_mode()
def test_onnx_runtime_has_the_features_of_torch_for_every_size() -> None:
    for network, sizes in ((network_of(EfficientNetLite, "lite0"), SIZES), (network_of(XFeat), SIZES[:2])):
        faster = OnnxNetwork(network)
        faster(noise(16, sizes[0]))
        assert runs_in_onnx_runtime(faster)
        for size in sizes:
            pixels = noise(3, size)
            for found, expected in zip(tensors(faster(pixels)), tensors(network(pixels)), strict=True):
                assert found.shape == expected.shape
                torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
                cosines = torch.cosine_similarity(found.flatten(1), expected.flatten(1))
                assert cosines.min() > 1 - 1e-6


@torch.inference_mode()
def test_the_graph_is_built_after_sixteen_images() -> None:
    faster = OnnxNetwork(nn.AvgPool2d(8))
    faster(noise(15, (32, 32)))
    assert not runs_in_onnx_runtime(faster)
    faster(noise(1, (32, 32)))
    assert runs_in_onnx_runtime(faster)


@pytest.mark.parametrize("network", [Unexportable(), TracedWrongly()])
@torch.inference_mode()
def test_a_network_that_cannot_be_exported_continues_in_torch_with_a_warning(
    network: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    faster, pixels = OnnxNetwork(network), noise(16, (32, 32))
    with caplog.at_level(logging.WARNING):
        assert torch.equal(faster(pixels), network(pixels))
        assert torch.equal(faster(pixels), network(pixels))
    assert not runs_in_onnx_runtime(faster)
    (record,) = caplog.records
    assert type(network).__name__ in record.getMessage()


@torch.inference_mode()
def test_a_graph_that_fails_on_other_sizes_continues_in_torch_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    network = Squares()
    faster = OnnxNetwork(network)
    faster(noise(16, (32, 32)))
    assert runs_in_onnx_runtime(faster)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(faster(noise(2, (48, 48))), network(noise(2, (48, 48))))
    assert not runs_in_onnx_runtime(faster)
    assert "Squares continues in torch" in caplog.text
