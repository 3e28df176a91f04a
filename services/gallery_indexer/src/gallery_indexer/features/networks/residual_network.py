"""A small residual network with a global embedding: the trunk of the compact extractor and of light query encoders."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gallery_indexer.features.networks.layers import GeM

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


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
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1) * 255)
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
