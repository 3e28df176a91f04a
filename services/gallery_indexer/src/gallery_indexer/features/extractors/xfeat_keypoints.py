"""Keypoints of XFeat (Potje et al., CVPR 2024, sec. 3.3), selected and described as in its authors' code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gallery_indexer.features.networks.xfeat import GRID, XFeat

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
    return F.interpolate(pixels, size, mode="bilinear", align_corners=False)


def _peaks(probabilities: Tensor, threshold: float) -> Tensor:
    """Return the peaks of (B, 1, H, W) as (B, N, 2) float32, x then y in pixels; N >= 1, rows padded with 0."""
    highest = F.max_pool2d(probabilities, _NEIGHBOURHOOD, stride=1, padding=_NEIGHBOURHOOD // 2)
    peaks = (probabilities == highest) & (probabilities > threshold)
    found = [one[0].nonzero().flip(-1).float() for one in peaks]
    return pad_sequence([torch.cat([one, one.new_zeros(1, 2)]) for one in found], batch_first=True)


def _sampling_grid(places: Tensor, height: int, width: int) -> Tensor:
    """Scale pixels to -1 to 1 by the centres of the outermost ones, as the authors do (though sampling is by edges)."""
    return (2.0 * places / places.new_tensor([width - 1, height - 1]) - 1.0)[:, :, None]
