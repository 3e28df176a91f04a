"""The attention over a feature map in DELG and DOLG (Cao et al., ECCV 2020; Yang et al., ICCV 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_DILATIONS = (6, 12, 18)
_BRANCH_WIDTH = 512


class SpatialAttention(nn.Module):
    """Two 1 x 1 convolutions: the first describes a cell, the second weights it."""

    def __init__(self, inputs: int, width: int, *, multi_atrous: bool = False) -> None:
        super().__init__()
        self.aspp = MultiAtrous(inputs) if multi_atrous else None
        self.conv1 = nn.Conv2d(inputs, width, 1)
        self.bn = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 1, 1)

    def forward(self, activations: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit descriptors (B, width, h, w) and positive weights (B, 1, h, w) of (B, C, h, w) activations."""
        if self.aspp is not None:
            activations = self.aspp(activations)
        described = self.bn(self.conv1(activations))
        return F.normalize(described.float(), dim=1), F.softplus(self.conv2(F.relu(described)).float())


class MultiAtrous(nn.Module):
    """Merges convolutions of several dilations and the mean of the map (DOLG, sec. 3.2)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        dilated = [nn.Conv2d(inputs, _BRANCH_WIDTH, 3, padding=d, dilation=d) for d in _DILATIONS]
        self.aspp = nn.ModuleList([nn.Conv2d(inputs, _BRANCH_WIDTH, 1), *dilated])
        self.im_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, _BRANCH_WIDTH, 1), nn.ReLU())
        merged = _BRANCH_WIDTH * (len(self.aspp) + 1)
        self.conv_after = nn.Sequential(nn.Conv2d(merged, inputs, 1), nn.ReLU())

    def forward(self, activations: Tensor) -> Tensor:
        """Return (B, C, h, w) for (B, C, h, w) activations."""
        whole = self.im_pool(activations).expand(-1, -1, *activations.shape[-2:])
        merged: Tensor = self.conv_after(torch.cat([whole, *(branch(activations) for branch in self.aspp)], dim=1))
        return merged
