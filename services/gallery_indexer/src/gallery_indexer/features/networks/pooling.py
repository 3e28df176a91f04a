"""Generalised-mean pooling, used by extractors and query encoders alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPSILON = 1e-6


class GeM(nn.Module):
    """Generalised mean over the spatial axes with a learnable exponent (Radenovic et al., TPAMI 2018)."""

    def __init__(self, exponent: float = 3.0) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))

    def forward(self, activations: Tensor) -> Tensor:
        """Pool (B, C, H, W) to (B, C)."""
        positive = activations.float().clamp(min=EPSILON)
        return positive.pow(self.exponent).mean(dim=(-2, -1)).pow(1.0 / self.exponent)
