"""Augmentation of training images, a whole batch at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from aff_toolkit.data import Settings

_LEAST_RESOLUTION = 1 / 3


class Augmentation(Settings):
    """Strength of the augmentation of photographs.

    Attributes:
        min_zoom: Side of the smallest crop, as a share of the photograph's.
        max_zoom: Side of the largest crop; above 1 the photograph is mirrored at its borders.
        roll_rad: Maximum roll of the camera to either side, in radians.
        shear: Maximum change of each entry of the affine map.
        perspective: Maximum growth of the distance from the photograph's centre to its border, as a share.
        gain: Maximum change of brightness and contrast, as a share.
        cast: Maximum change of a colour channel, as a share.
        erased_share: Share of the photographs in which a rectangle is covered.
        blurred_share: Share of the photographs that are reduced to between a third and the whole of their size, and
            enlarged again.
    """

    min_zoom: float = Field(default=0.65, gt=0)
    max_zoom: float = Field(default=1.05, gt=0)
    roll_rad: float = Field(default=0.15, ge=0)
    shear: float = Field(default=0.12, ge=0)
    perspective: float = Field(default=0.0, ge=0, lt=0.5)
    gain: float = Field(default=0.35, ge=0, lt=1)
    cast: float = Field(default=0.12, ge=0, lt=1)
    erased_share: float = Field(default=0.25, ge=0, le=1)
    blurred_share: float = Field(default=0.0, ge=0, le=1)


USUAL = Augmentation()


@torch.no_grad()
def augment(images: Tensor, size: int, seed: int, augmentation: Augmentation = USUAL) -> Tensor:
    """Crop, warp, blur, recolour and partly cover a batch (B, S, S, 3) uint8; the seed determines all random choices.

    Returns:
        (B, size, size, 3) float32 from 0 to 255, on the images' device; contiguous, so that a network takes it
        channels-last without a copy.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.autocast(images.device.type, enabled=False):
        warped = _warp(images.permute(0, 3, 1, 2).float(), size, generator, augmentation)
        if augmentation.blurred_share:
            warped = _blur(warped, generator, augmentation)
        return _erase(_recolour(warped, generator, augmentation), generator, augmentation).permute(0, 2, 3, 1)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw on the CPU, so that a seed determines the augmentation on every device."""
    return torch.rand(shape, generator=generator) * (high - low) + low


def _warp(images: Tensor, size: int, generator: torch.Generator, how: Augmentation) -> Tensor:
    B = len(images)
    zoom = _uniform((B, 1, 1), how.min_zoom, how.max_zoom, generator)
    roll = _uniform((B,), -how.roll_rad, how.roll_rad, generator)
    cosine, sine = roll.cos(), roll.sin()
    rotation = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    linear = zoom * (rotation + _uniform((B, 2, 2), -how.shear, how.shear, generator))
    shift = _uniform((B, 2, 1), -1.0, 1.0, generator) * (1.0 - zoom).clamp(min=0.0)
    theta = torch.cat([linear, shift], 2).to(images.device)
    grid = F.affine_grid(theta, [B, 3, size, size], align_corners=False)
    if how.perspective:
        # Distances from the camera, relative to 1.
        tilt = _uniform((2, B, 1, 1), -how.perspective, how.perspective, generator)
        across = torch.linspace(-1, 1, size)
        distances = 1.0 + tilt[0] * across[None, None] + tilt[1] * across[None, :, None]
        grid = grid / distances[..., None].to(images.device)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _blur(images: Tensor, generator: torch.Generator, how: Augmentation) -> Tensor:
    """Reduce the resolution of some photographs, in groups of a few sizes."""
    blurred = torch.rand(len(images), generator=generator) < how.blurred_share
    scale = _uniform((len(images),), _LEAST_RESOLUTION, 1.0, generator)
    size = images.shape[-1]
    for side in range(round(size * _LEAST_RESOLUTION), size, max(size // 8, 1)):
        rows = blurred & (scale * size >= side) & (scale * size < side + max(size // 8, 1))
        if rows.any():
            chosen = rows.to(images.device)
            small = F.interpolate(images[chosen], (side, side), mode="bilinear", antialias=True, align_corners=False)
            images[chosen] = F.interpolate(small, (size, size), mode="bilinear", align_corners=False)
    return images


def _recolour(images: Tensor, generator: torch.Generator, how: Augmentation) -> Tensor:
    B = len(images)
    gain = _uniform((B, 1, 1, 1), 1 - how.gain, 1 + how.gain, generator)
    contrast = _uniform((B, 1, 1, 1), 1 - how.gain, 1 + how.gain, generator)
    cast = _uniform((B, 3, 1, 1), 1 - how.cast, 1 + how.cast, generator)
    brightness = (gain * cast).to(images.device)
    contrast = contrast.to(images.device)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    recoloured = torch.empty_like(images, memory_format=torch.channels_last)
    torch.addcmul((1 - contrast) * mean * brightness, images, contrast * brightness, out=recoloured)
    return recoloured.clamp_(0.0, 255.0)


def _erase(images: Tensor, generator: torch.Generator, how: Augmentation) -> Tensor:
    B, _, height, width = images.shape
    extent = _uniform((2, B, 1), 0.15, 0.4, generator)
    extent = extent * (torch.rand((B, 1), generator=generator) < how.erased_share)
    start = torch.rand((2, B, 1), generator=generator) * (1.0 - extent)
    rows, columns = torch.linspace(0, 1, height), torch.linspace(0, 1, width)
    inside_rows = (rows >= start[0]) & (rows < start[0] + extent[0])
    inside_columns = (columns >= start[1]) & (columns < start[1] + extent[1])
    covered = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    colour = _uniform((B, 3, 1, 1), 0.0, 255.0, generator)
    return torch.where(covered.to(images.device), colour.to(images.device), images, out=images)


def stretch(pixels: Tensor, size: int) -> Tensor:
    """Resize photographs (B, S, S, 3) as in service: (B, size, size, 3), float32 unless S is size."""
    if pixels.shape[1] == size:
        return pixels
    planes = F.interpolate(
        pixels.permute(0, 3, 1, 2).float(), (size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return planes.permute(0, 2, 3, 1)
