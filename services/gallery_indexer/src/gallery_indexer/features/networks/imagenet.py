"""Normalisation of pixels as networks with ImageNet weights expect it."""

from __future__ import annotations

import torch
from torch import Tensor

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def normalise(pixels: Tensor, mean: tuple[float, ...] = _MEAN, std: tuple[float, ...] = _STD) -> Tensor:
    """Bring (B, 3, H, W) RGB pixels from 0 to 255 to zero mean and unit deviation, float32.

    Args:
        pixels: uint8 or float.
        mean: By channel, of pixels from 0 to 1.
        std: Likewise.
    """
    shift, scale = (_by_channel(values, pixels.device) for values in (mean, std))
    return (pixels / 255.0 - shift) / scale


def _by_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Give (3, 1, 1); from pinned memory, for a copy from elsewhere would wait for all that the card has in hand."""
    tensor = torch.tensor(values).view(3, 1, 1)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
