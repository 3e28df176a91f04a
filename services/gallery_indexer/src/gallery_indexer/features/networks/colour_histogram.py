"""A soft histogram of colours, which classification networks discard although it distinguishes instances."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CELL = 8  # side in pixels of the squares that are averaged first
_FULL = 255.0
# Added to the brightness before chroma is divided by it: dark pixels have no colour.
_DARK = 0.1
_BRIGHTNESS_WEIGHT, _CHROMA_WEIGHT = 0.6, 0.7
# Squared distance over which a colour's share in a bin falls to 1 / e.
_SPREAD = 0.005
_BRIGHTNESSES = (0.15, 0.417, 0.683, 0.95)
# Radius in the chroma plane, number of hues, and whether they are shifted by half a step.
_RINGS = ((0.0, 1, False), (0.08, 6, False), (0.2, 6, False), (0.45, 6, True))

# Factor of the histogram next to pooled activations of unit length. Measured on groceries and on frames of a building,
# after whitening: a larger factor finds more in equal light, and less if the query was taken in other light.
COLOUR_WEIGHT = 0.3

BINS = len(_BRIGHTNESSES) * sum(hues for _, hues, _ in _RINGS)


class ColourHistogram(nn.Module):
    """Square roots of the shares of colours in a photograph, softly assigned to fixed bins.

    A colour consists of its brightness and two opponent channels divided by the brightness, which depend less on the
    light. With square roots, the cosine of two histograms is the Bhattacharyya coefficient.
    """

    centres: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centres", _centres(), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Describe photographs.

        Args:
            pixels: (B, 3, H, W) RGB from 0 to 255, float32; H and W are at least 8.

        Returns:
            (B, 76) float32, unit length.
        """
        colours = _opponents(F.avg_pool2d(pixels.float() / _FULL, _CELL)).flatten(2).transpose(1, 2)
        likeness = (2.0 * colours @ self.centres.T - self.centres.square().sum(dim=1)) / _SPREAD
        return likeness.softmax(dim=-1).mean(dim=1).sqrt()


def _opponents(colours: Tensor) -> Tensor:
    """Convert RGB from 0 to 1 (B, 3, h, w) to brightness and two channels of chroma, of equal scale."""
    red, green, blue = colours.unbind(dim=1)
    brightness = colours.mean(dim=1)
    chroma = _CHROMA_WEIGHT / (brightness + _DARK)
    return torch.stack(
        [
            _BRIGHTNESS_WEIGHT * brightness.sqrt(),
            chroma * (red - green),
            chroma * ((red + green) / 2 - blue),
        ],
        dim=1,
    )


def _centres() -> Tensor:
    """Return the centres of the bins (76, 3)."""
    centres = []
    for brightness in _BRIGHTNESSES:
        for radius, hues, shifted in _RINGS:
            for hue in range(hues):
                angle = 2 * math.pi * (hue + (0.5 if shifted else 0.0)) / hues
                centres.append((_BRIGHTNESS_WEIGHT * brightness, radius * math.cos(angle), radius * math.sin(angle)))
    return torch.tensor(centres)
