"""XFeat (Potje et al., CVPR 2024): keypoints, their reliability and dense descriptors from one light network.

Weights have the authors' names. Their refinement of matches (`fine_matcher`) is not included.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

DESCRIPTOR_WIDTH = 64
GRID = 32  # the sides of the input are multiples of it, in pixels
_CELL = 8
_BINS = _CELL * _CELL


class XFeat(nn.Module):
    """The network. A cell is 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.skip1 = nn.Sequential(nn.AvgPool2d(4, stride=4), nn.Conv2d(1, 24, 1))
        self.block1 = nn.Sequential(_Layer(1, 4), _Layer(4, 8, stride=2), _Layer(8, 8), _Layer(8, 24, stride=2))
        self.block2 = nn.Sequential(_Layer(24, 24), _Layer(24, 24))
        self.block3 = nn.Sequential(_Layer(24, 64, stride=2), _Layer(64, 64), _Layer(64, 64, kernel=1))
        self.block4 = nn.Sequential(_Layer(64, 64, stride=2), _Layer(64, 64), _Layer(64, 64))
        self.block5 = nn.Sequential(
            _Layer(64, 128, stride=2), _Layer(128, 128), _Layer(128, 128), _Layer(128, 64, kernel=1)
        )
        self.block_fusion = nn.Sequential(_Layer(64, 64), _Layer(64, 64), nn.Conv2d(64, DESCRIPTOR_WIDTH, 1))
        self.heatmap_head = nn.Sequential(
            _Layer(64, 64, kernel=1), _Layer(64, 64, kernel=1), nn.Conv2d(64, 1, 1), nn.Sigmoid()
        )
        # One bin for each pixel of a cell, and one for a cell without a keypoint.
        self.keypoint_head = nn.Sequential(
            *(_Layer(_BINS, _BINS, kernel=1) for _ in range(3)), nn.Conv2d(_BINS, _BINS + 1, 1)
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Describe photographs.

        Args:
            pixels: (B, 3, H, W) float32 RGB from 0 to 1; H and W are multiples of 32.

        Returns:
            Descriptors (B, 64, H / 8, W / 8) of unit length; the probability (B, 1, H, W) of a keypoint at each pixel;
            reliability (B, 1, H / 8, W / 8) from 0 to 1. All float32.
        """
        grey = F.instance_norm(pixels.mean(dim=1, keepdim=True))
        third = self.block3(self.block2(self.block1(grey) + self.skip1(grey)))
        fourth = self.block4(third)
        fifth = self.block5(fourth)
        size = third.shape[-2:]
        coarse = [F.interpolate(one, size, mode="bilinear", align_corners=False) for one in (fourth, fifth)]
        fused = self.block_fusion(third + coarse[0] + coarse[1])
        bins = F.softmax(self.keypoint_head(F.pixel_unshuffle(grey, _CELL)).float(), dim=1)
        keypoints = F.pixel_shuffle(bins[:, :_BINS], _CELL)
        return F.normalize(fused.float(), dim=1), keypoints, self.heatmap_head(fused).float()


class _Layer(nn.Module):
    """Convolution, batch normalisation without scale and shift, ReLU."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, affine=False),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        activations: Tensor = self.layer(x)
        return activations
