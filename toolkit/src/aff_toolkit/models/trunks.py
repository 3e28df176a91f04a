"""Trunks of light networks that transformers does not have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gallery_indexer.features.extractors.timm_backbone import import_timm

_STEM = 24
_WIDTHS = (116, 232, 464)
_REPEATS = (4, 8, 4)
CHANNELS = 1024


class TimmTrunk(nn.Module):
    """Stem and blocks of a timm model of MobileNetV3's form, with timm's names of weights."""

    def __init__(self, model: Any) -> None:
        """Use the layers before the model's pooling."""
        super().__init__()
        self.conv_stem, self.bn1, self.blocks = model.conv_stem, model.bn1, model.blocks

    def forward(self, pixels: Tensor) -> Tensor:
        """Return activations (B, C, H / 32, W / 32) of normalised (B, 3, H, W) pixels."""
        activations: Tensor = self.blocks(self.bn1(self.conv_stem(pixels)))
        return activations


def timm_trunk(name: str) -> tuple[TimmTrunk, int]:
    """Return the trunk of a timm model with random weights, and its number of channels C.

    It ends before timm's pooling, at 576 or 960 channels: the convolution `conv_head` behind the pooling, 1,024 or
    1,280 wide, is part of the classifier.

    Raises:
        MissingExtraError: timm is not installed, or cannot be loaded.
    """
    model: Any = import_timm(name).create_model(name, pretrained=False, num_classes=0)
    return TimmTrunk(model), int(model.num_features)


class ShuffleNetV2(nn.Module):
    """The trunk of width 1.0."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, _STEM, 3, stride=2, padding=1, bias=False), *_norm_relu(_STEM))
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = (_STEM, *_WIDTHS[:-1])
        self.stage2, self.stage3, self.stage4 = map(_stage, inputs, _WIDTHS, _REPEATS)
        self.conv5 = nn.Sequential(nn.Conv2d(_WIDTHS[-1], CHANNELS, 1, bias=False), *_norm_relu(CHANNELS))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return activations (B, 1024, H / 32, W / 32) of normalised (B, 3, H, W) pixels."""
        stem = self.maxpool(self.conv1(pixels))
        activations: Tensor = self.conv5(self.stage4(self.stage3(self.stage2(stem))))
        return activations


def _stage(inputs: int, width: int, repeats: int) -> nn.Sequential:
    return nn.Sequential(_Unit(inputs, width, 2), *(_Unit(width, width, 1) for _ in range(repeats - 1)))


class _Unit(nn.Module):
    """Half of the channels pass by (or through a depthwise branch, where the map shrinks); then halves are shuffled."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.branch1 = (
            nn.Sequential()
            if stride == 1
            else nn.Sequential(*_depthwise(inputs, stride), nn.Conv2d(inputs, half, 1, bias=False), *_norm_relu(half))
        )
        entering = half if stride == 1 else inputs
        self.branch2 = nn.Sequential(
            nn.Conv2d(entering, half, 1, bias=False),
            *_norm_relu(half),
            *_depthwise(half, stride),
            nn.Conv2d(half, half, 1, bias=False),
            *_norm_relu(half),
        )
        self._splits = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        passing, entering = x.chunk(2, dim=1) if self._splits else (x, x)
        both = torch.stack([self.branch1(passing), self.branch2(entering)], dim=2)
        return both.flatten(1, 2)


def _norm_relu(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.ReLU(inplace=True)


def _depthwise(channels: int, stride: int) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
    return conv, nn.BatchNorm2d(channels)
