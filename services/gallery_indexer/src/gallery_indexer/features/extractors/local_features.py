"""Local features of a feature map or of patches: positions, and the strongest descriptors."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.networks.layers import EPSILON

_GEM_EXPONENT = 3.0


def cell_positions(cells: Tensor, height: int, width: int) -> Tensor:
    """Return the centres of cells of a height x width grid.

    Args:
        cells: (B, n) int64, numbers of the cells, row by row.
        height: Rows of the grid.
        width: Columns of the grid.

    Returns:
        (B, n, 2) float32 in (0, 1): x, then y.
    """
    columns, rows = cells % width, cells // width
    return torch.stack([(columns + 0.5) / width, (rows + 0.5) / height], dim=-1)


def strongest_tokens(values: Tensor, strengths: Tensor, positions: Tensor, count: int) -> FeatureBatch:
    """Select the `count` strongest tokens; missing ones are masked.

    Args:
        values: (B, N, d).
        strengths: (B, N); 0 or less means that there is no token.
        positions: (B, N, 2) or (N, 2), shares of the image's width and height.
        count: Number of tokens in the result, n.
    """
    B, N, d = values.shape
    kept, missing = min(count, N), max(0, count - N)
    top = strengths.topk(kept, dim=1)
    places = top.indices[..., None]
    chosen = values.gather(1, places.expand(-1, -1, d))
    where = positions.expand(B, -1, -1).gather(1, places.expand(-1, -1, 2))
    mask = top.values > 0
    present = mask[..., None]
    return FeatureBatch(
        F.pad(chosen.float() * present, (0, 0, 0, missing)),
        F.pad(mask, (0, missing)),
        F.pad(where * present, (0, 0, 0, missing)),
        F.pad(top.values.float(), (0, missing)),
    )


def pool_patches(tokens: Tensor, head: Literal["mean", "gem"]) -> Tensor:
    """Pool patches (B, N, d) to (B, d) by their mean or generalised mean (Radenovic et al., TPAMI 2018)."""
    if head == "mean":
        return tokens.mean(dim=1)
    powers: Tensor = tokens.clamp(min=EPSILON).pow(_GEM_EXPONENT)
    return powers.mean(dim=1).pow(1 / _GEM_EXPONENT)


def strongest_patches(tokens: Tensor, strengths: Tensor, grid: tuple[int, int], count: int) -> FeatureBatch:
    """Select the strongest patches as unit vectors.

    Args:
        tokens: (B, N, d), row by row.
        strengths: (B, N).
        grid: Rows and columns of the patches; N is their product.
        count: Number of tokens in the result; missing ones are masked.
    """
    height, width = grid
    cells = torch.arange(height * width, device=tokens.device)
    positions = cell_positions(cells, height, width)
    return strongest_tokens(F.normalize(tokens, dim=-1), strengths, positions, count)
