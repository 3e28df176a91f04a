"""A soft histogram of colours: what networks that learned to name things forget, and what tells two of them apart."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CELL = 8  # pixels of a side that are averaged first
_FULL = 255.0
# Share of the brightness that is added to it before chroma is divided by it: dark pixels have no colour.
_DARK = 0.1
_BRIGHTNESS_WEIGHT, _CHROMA_WEIGHT = 0.6, 0.7
# Squared distance over which a colour's share in a bin falls to 1 / e.
_SPREAD = 0.005
_BRIGHTNESSES = (0.15, 0.417, 0.683, 0.95)
# Radius in the plane of chroma, number of hues, and whether they start half a step on.
_RINGS = ((0.0, 1, False), (0.08, 6, False), (0.2, 6, False), (0.45, 6, True))

# Factor beside pooled activations of unit length. Measured on groceries and on frames of a building, after whitening:
# larger ones find more in equal light, and less where the query was taken in the dark or in light of another colour.
COLOUR_WEIGHT = 0.3

BINS = len(_BRIGHTNESSES) * sum(hues for _, hues, _ in _RINGS)


class ColourHistogram(nn.Module):
    """Shares of colours in a photograph, softly assigned to fixed bins; square roots of them, so that cosines compare.

    A colour is its brightness, and two opponent channels divided by the brightness, which light changes less. The
    square roots make the cosine of two histograms the Bhattacharyya coefficient.
    """

    centres: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centres", _centres(), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Describe photographs.

        Args:
            pixels: (B, 3, H, W) RGB from 0 to 255, float32, of at least 8 pixels a side.

        Returns:
            (B, 76) float32, unit length.
        """
        colours = _opponents(F.avg_pool2d(pixels.float() / _FULL, _CELL)).flatten(2).transpose(1, 2)
        likeness = (2.0 * colours @ self.centres.T - self.centres.square().sum(dim=1)) / _SPREAD
        return likeness.softmax(dim=-1).mean(dim=1).sqrt()


def _opponents(colours: Tensor) -> Tensor:
    """Turn RGB from 0 to 1 (B, 3, h, w) into brightness and two channels of chroma, as large as each other."""
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
