"""Augmentation of training images, a whole batch at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_MIN_ZOOM, _MAX_ZOOM = 0.65, 1.05
_MAX_ROLL_RAD = 0.15
_MAX_SHEAR = 0.12
_GAIN = 0.35
_CAST = 0.12
_ERASED_SHARE = 0.25


@torch.no_grad()
def augment(images: Tensor, size: int, seed: int) -> Tensor:
    """Crop, warp, recolour and partly cover a batch.

    Args:
        images: (B, S, S, 3) uint8.
        size: Pixels of a side of the result.
        seed: Of every random choice.

    Returns:
        (B, size, size, 3) float32 from 0 to 255, on the images' device; contiguous, so that a network takes it
        channels-last without a copy.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.autocast(images.device.type, enabled=False):
        warped = _warp(images.permute(0, 3, 1, 2).float(), size, generator)
        return _erase(_recolour(warped, generator), generator).permute(0, 2, 3, 1)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw on the CPU, so that a seed gives the same augmentation on every device."""
    return torch.rand(shape, generator=generator) * (high - low) + low


def _warp(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    B = len(images)
    zoom = _uniform((B, 1, 1), _MIN_ZOOM, _MAX_ZOOM, generator)
    roll = _uniform((B,), -_MAX_ROLL_RAD, _MAX_ROLL_RAD, generator)
    cosine, sine = roll.cos(), roll.sin()
    rotation = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    linear = zoom * (rotation + _uniform((B, 2, 2), -_MAX_SHEAR, _MAX_SHEAR, generator))
    shift = _uniform((B, 2, 1), -1.0, 1.0, generator) * (1.0 - zoom).clamp(min=0.0)
    theta = torch.cat([linear, shift], 2).to(images.device)
    grid = F.affine_grid(theta, [B, 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _recolour(images: Tensor, generator: torch.Generator) -> Tensor:
    B = len(images)
    gain = _uniform((B, 1, 1, 1), 1 - _GAIN, 1 + _GAIN, generator)
    contrast = _uniform((B, 1, 1, 1), 1 - _GAIN, 1 + _GAIN, generator)
    cast = _uniform((B, 3, 1, 1), 1 - _CAST, 1 + _CAST, generator)
    brightness = (gain * cast).to(images.device)
    contrast = contrast.to(images.device)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    recoloured = torch.empty_like(images, memory_format=torch.channels_last)
    torch.addcmul((1 - contrast) * mean * brightness, images, contrast * brightness, out=recoloured)
    return recoloured.clamp_(0.0, 255.0)


def _erase(images: Tensor, generator: torch.Generator) -> Tensor:
    B, _, height, width = images.shape
    extent = _uniform((2, B, 1), 0.15, 0.4, generator)
    extent = extent * (torch.rand((B, 1), generator=generator) < _ERASED_SHARE)
    start = torch.rand((2, B, 1), generator=generator) * (1.0 - extent)
    rows, columns = torch.linspace(0, 1, height), torch.linspace(0, 1, width)
    inside_rows = (rows >= start[0]) & (rows < start[0] + extent[0])
    inside_columns = (columns >= start[1]) & (columns < start[1] + extent[1])
    covered = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    colour = _uniform((B, 3, 1, 1), 0.0, 255.0, generator)
    return torch.where(covered.to(images.device), colour.to(images.device), images, out=images)
