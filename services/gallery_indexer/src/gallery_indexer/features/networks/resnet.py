"""The residual network that all landmark extractors with a ResNet share (He et al., CVPR 2016), and a small one.

Weights of the ResNet have torchvision's names (`layer3.5.conv2.weight`). pycls, the framework of DELG, DOLG and CVNet,
has the same network with other names. The small network is the trunk of the compact extractor and of light query
encoders.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery_indexer.features.networks.layers import IMAGENET_MEAN, IMAGENET_STD, GeM, convolved

Depth = Literal[18, 50, 101, 152]

_BLOCKS: dict[Depth, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_STEM_WIDTH = 64
_WITHOUT_BOTTLENECKS: Depth = 18


class ResNet(nn.Module):
    """Convolutional trunk of a ResNet: a stem and up to four stages, without pooling or classifier."""

    def __init__(self, depth: Depth, *, stages: int = 4) -> None:
        """Build the trunk with random weights.

        Args:
            depth: 18 has basic blocks; 50, 101 and 152 have bottlenecks with the stride on the 3 x 3 convolution.
            stages: Number of stages, up to four.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(3, _STEM_WIDTH, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM_WIDTH)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = _STEM_WIDTH
        self.stage_names = tuple(f"layer{number}" for number in range(1, stages + 1))
        for number, name in enumerate(self.stage_names):
            stage = stage_of_blocks(depth, number, inputs)
            self.add_module(name, stage)
            inputs = stage_width(depth, number)
        self.out_channels = inputs

    def raise_activations(self, floor: float) -> None:
        """Clamp activations at `floor` instead of 0: all of the first stage, and block outputs of the next two.

        ReLUP of SuperGlobal (Shao et al., ICCV 2023, sec. 3.2), as in its authors' code; for bottlenecks only.
        """
        for name in self.stage_names[:3]:
            for block in self.get_submodule(name).children():
                block.outer_floor = floor  # type: ignore[assignment]
        for block in self.get_submodule(self.stage_names[0]).children():
            block.inner_floor = floor  # type: ignore[assignment]

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the last stage's activations of normalised (B, 3, H, W) pixels; see `stages`."""
        return self.stages(pixels)[-1]

    def stages(self, pixels: Tensor) -> list[Tensor]:
        """Return every stage's activations of normalised (B, 3, H, W) pixels.

        Returns:
            Stage k, from 1: (B, C, h, w) with h and w a 2^(k + 1)-th of H and W, rounded up.
        """
        x = self.maxpool(convolved(self.conv1, self.bn1, pixels))
        activations = []
        for name in self.stage_names:
            x = self.get_submodule(name)(x)
            activations.append(x)
        return activations


def stage_width(depth: Depth, number: int) -> int:
    """Return the channels of a stage, numbered from 0."""
    first: int = _STEM_WIDTH if depth == _WITHOUT_BOTTLENECKS else 4 * _STEM_WIDTH
    return first << number


def stage_of_blocks(depth: Depth, number: int, inputs: int) -> nn.Sequential:
    """Return a stage, numbered from 0, with `inputs` input channels; all but the first halve height and width."""
    block = _BasicBlock if depth == _WITHOUT_BOTTLENECKS else _Bottleneck
    outputs = stage_width(depth, number)
    stride = 1 if number == 0 else 2
    first = block(inputs, outputs, stride)
    return nn.Sequential(first, *(block(outputs, outputs, 1) for _ in range(_BLOCKS[depth][number] - 1)))


class _Block(nn.Module):
    """Base class of blocks: a shortcut, projected if the shape changes."""

    downsample: nn.Sequential | None
    outer_floor = 0.0  # lower bound of the sum

    def _shortcut(self, inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
        if stride == 1 and inputs == outputs:
            return None
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))

    def _last(self, convolution: nn.Conv2d, norm: nn.Module, residual: Tensor, x: Tensor) -> Tensor:
        added = x if self.downsample is None else self.downsample(x)
        return convolved(convolution, norm, residual, floor=self.outer_floor, added=added)


class _BasicBlock(_Block):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = self._shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self._last(self.conv2, self.bn2, convolved(self.conv1, self.bn1, x), x)


class _Bottleneck(_Block):
    inner_floor = 0.0  # lower bound of the inner activations

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        width = outputs // 4
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = self._shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        residual = convolved(self.conv1, self.bn1, x, floor=self.inner_floor)
        residual = convolved(self.conv2, self.bn2, residual, floor=self.inner_floor)
        return self._last(self.conv3, self.bn3, residual, x)


class _ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class ResidualNetwork(nn.Module):
    """A stem, three residual stages of 2, 4 and 8 times `width` channels, GeM pooling and a linear whitening layer.

    Normalisation of the uint8 input is part of the network. Batch statistics centre and scale the whitening layer in
    training; afterwards they are constants of one linear map.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, dimension: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1) * 255)
        self.middle = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            _ResidualBlock(width, 2 * width),
            _ResidualBlock(2 * width, 4 * width),
        )
        self.top = _ResidualBlock(4 * width, 8 * width)
        self.pool = GeM()
        self.whitening = nn.Sequential(nn.Linear(8 * width, dimension), nn.BatchNorm1d(dimension))

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed (B, 3, H, W) pixels from 0 to 255: (B, dimension), unit length."""
        return self.pool_global(self.activations(pixels))

    def activations(self, pixels: Tensor) -> Tensor:
        """Return mid-level activations (B, 4 * width, H / 8, W / 8) of (B, 3, H, W) pixels from 0 to 255."""
        middle: Tensor = self.middle((pixels.float() - self.mean) / self.std)
        return middle

    def pool_global(self, activations: Tensor) -> Tensor:
        """Compute the global embedding from mid-level activations: (B, dimension), unit length."""
        return F.normalize(self.whitening(self.pool(self.top(activations))), dim=-1)
