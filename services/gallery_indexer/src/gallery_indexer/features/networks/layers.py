"""Building blocks of networks: normalisation of pixels, pooling, scaling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
EPSILON = 1e-6


def normalise(pixels: Tensor, mean: tuple[float, ...] = _MEAN, std: tuple[float, ...] = _STD) -> Tensor:
    """Normalise (B, 3, H, W) RGB pixels from 0 to 255 to zero mean and unit deviation, float32.

    Args:
        pixels: uint8 or float.
        mean: Mean by channel, for pixels from 0 to 1; ImageNet's by default.
        std: Standard deviation by channel, for pixels from 0 to 1.
    """
    shift, scale = (_by_channel(values, pixels.device) for values in (mean, std))
    return (pixels / 255.0 - shift) / scale


def _by_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return (3, 1, 1) on the device; copied from pinned memory, since other copies wait for the GPU's queue."""
    tensor = torch.tensor(values).view(3, 1, 1)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class GeM(nn.Module):
    """Generalised mean over the spatial axes with a learnable exponent (Radenovic et al., TPAMI 2018)."""

    def __init__(self, exponent: float = 3.0) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))

    def forward(self, activations: Tensor) -> Tensor:
        """Pool (B, C, H, W) to (B, C)."""
        positive = activations.float().clamp(min=EPSILON)
        return positive.pow(self.exponent).mean(dim=(-2, -1)).pow(1.0 / self.exponent)


def scaled(pixels: Tensor, scale: float) -> Tensor:
    """Resize (B, 3, H, W) to the nearest whole size, bilinearly and without antialiasing, as OpenCV's INTER_LINEAR."""
    height, width = (round(side * scale) for side in pixels.shape[-2:])
    if (height, width) == pixels.shape[-2:]:
        return pixels
    return F.interpolate(pixels, (height, width), mode="bilinear", align_corners=False)
