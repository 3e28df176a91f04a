"""Photographs at another scale, as the landmark networks that were written in pycls see them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def scaled(pixels: Tensor, scale: float) -> Tensor:
    """Resize (B, 3, H, W) to the nearest whole size, bilinearly and without antialiasing: OpenCV's INTER_LINEAR."""
    height, width = (round(side * scale) for side in pixels.shape[-2:])
    if (height, width) == pixels.shape[-2:]:
        return pixels
    return F.interpolate(pixels, (height, width), mode="bilinear", align_corners=False)
