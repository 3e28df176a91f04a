"""Global and local features from the patches of a backbone."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gallery_indexer.features.extractors.cell_positions import cell_positions
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.strongest_tokens import strongest_tokens
from gallery_indexer.features.networks.pooling import EPSILON

_GEM_EXPONENT = 3.0


def pool_patches(tokens: Tensor, head: Literal["mean", "gem"]) -> Tensor:
    """Pool patches (B, N, d) to (B, d): their mean, or generalised mean (Radenovic et al., TPAMI 2018)."""
    if head == "mean":
        return tokens.mean(dim=1)
    powers: Tensor = tokens.clamp(min=EPSILON).pow(_GEM_EXPONENT)
    return powers.mean(dim=1).pow(1 / _GEM_EXPONENT)


def strongest_patches(tokens: Tensor, strengths: Tensor, grid: tuple[int, int], count: int) -> FeatureBatch:
    """Choose the strongest patches as unit vectors.

    Args:
        tokens: (B, N, d), row by row.
        strengths: (B, N).
        grid: Rows and columns of the patches; N is their product.
        count: Tokens of the result; masked where there are fewer patches.
    """
    height, width = grid
    cells = torch.arange(height * width, device=tokens.device)
    positions = cell_positions(cells, height, width)
    return strongest_tokens(F.normalize(tokens, dim=-1), strengths, positions, count)
