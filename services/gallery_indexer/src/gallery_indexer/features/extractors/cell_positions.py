"""Where the cells of a feature map lie in the photograph."""

from __future__ import annotations

import torch
from torch import Tensor


def cell_positions(cells: Tensor, height: int, width: int) -> Tensor:
    """Give the centres of cells of a height x width grid.

    Args:
        cells: (B, n) int64, numbered row by row.
        height: Rows of the grid.
        width: Columns of the grid.

    Returns:
        (B, n, 2) float32 in (0, 1): x, then y.
    """
    columns, rows = cells % width, cells // width
    return torch.stack([(columns + 0.5) / width, (rows + 0.5) / height], dim=-1)
