"""XFeat (Potje et al., CVPR 2024): keypoints, their reliability and dense descriptors from one light network.

Weights have the authors' names. Their refinement of matches (`fine_matcher`) is not included. Keypoints are selected
and described as in the authors' code (sec. 3.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

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


_NEIGHBOURHOOD = 5


@dataclass(frozen=True, slots=True)
class XFeatKeypoints:
    """The strongest keypoints of B photographs, by falling strength.

    Attributes:
        descriptors: (B, n, 64) float32, unit length.
        positions: (B, n, 2) float32, x then y as shares of width and height.
        strengths: (B, n) float32, probability of a keypoint times reliability; entries of 0 or less are padding.
    """

    descriptors: Tensor
    positions: Tensor
    strengths: Tensor

    def described(self) -> Iterator[NDArray[np.float32]]:
        """Yield the descriptors (m, 64) of each photograph; m may be 0."""
        for descriptors, strengths in zip(self.descriptors, self.strengths, strict=True):
            yield descriptors[strengths > 0].cpu().numpy()


def detect_xfeat_keypoints(network: XFeat, pixels: Tensor, *, threshold: float, count: int) -> XFeatKeypoints:
    """Detect and describe keypoints.

    Args:
        network: The network with its weights, in evaluation mode.
        pixels: (B, 3, H, W) RGB from 0 to 255, uint8 or float32. Sides are resized down to a multiple of 32, of at
            least 32.
        threshold: Lowest probability of a keypoint at its pixel, which is the largest in its 5 x 5 neighbourhood.
        count: Largest number of keypoints per photograph, and of n.
    """
    on_grid = _on_grid(pixels.float() / 255.0)
    height, width = on_grid.shape[-2:]
    maps, probabilities, reliability = network(on_grid)
    places = _peaks(probabilities, threshold)
    grid = _sampling_grid(places, height, width)
    likely = F.grid_sample(probabilities, grid, mode="nearest", align_corners=False)
    reliable = F.grid_sample(reliability, grid, mode="bilinear", align_corners=False)
    strengths = (likely * reliable)[:, 0, :, 0]
    # Rows are padded with the corner, where the authors' code finds nothing.
    strengths = strengths.masked_fill((places == 0).all(dim=-1), 0.0)
    top = strengths.topk(min(count, strengths.shape[1]), dim=1)
    chosen = places.gather(1, top.indices[..., None].expand(-1, -1, 2))
    sampled = F.grid_sample(maps, _sampling_grid(chosen, height, width), mode="bicubic", align_corners=False)
    descriptors = F.normalize(sampled[..., 0].transpose(1, 2), dim=-1)
    return XFeatKeypoints(descriptors, chosen / chosen.new_tensor([width, height]), top.values)


def _on_grid(pixels: Tensor) -> Tensor:
    size = [max(GRID, side // GRID * GRID) for side in pixels.shape[-2:]]
    if size == list(pixels.shape[-2:]):
        return pixels
    return F.interpolate(pixels, size, mode="bilinear", align_corners=False)


def _peaks(probabilities: Tensor, threshold: float) -> Tensor:
    """Return the peaks of (B, 1, H, W) as (B, N, 2) float32, x then y in pixels; N >= 1, rows padded with 0."""
    peaks = (probabilities == _highest(probabilities)) & (probabilities > threshold)
    found = [one[0].nonzero().flip(-1).float() for one in peaks]
    return pad_sequence([torch.cat([one, one.new_zeros(1, 2)]) for one in found], batch_first=True)


def _highest(probabilities: Tensor) -> Tensor:
    """Return the highest probability of each neighbourhood; on a CPU in a small part of the time of max_pool2d."""
    rest = _NEIGHBOURHOOD // 2
    for axis in (-1, -2):
        length = probabilities.shape[axis]
        padding = (rest, rest) if axis == -1 else (0, 0, rest, rest)
        padded = F.pad(probabilities, padding)
        probabilities = padded.narrow(axis, 0, length)
        for shift in range(1, _NEIGHBOURHOOD):
            probabilities = torch.maximum(probabilities, padded.narrow(axis, shift, length))
    return probabilities


def _sampling_grid(places: Tensor, height: int, width: int) -> Tensor:
    """Scale pixels to -1 to 1 by the centres of the outermost ones, as the authors do (though sampling is by edges)."""
    return (2.0 * places / places.new_tensor([width - 1, height - 1]) - 1.0)[:, :, None]
