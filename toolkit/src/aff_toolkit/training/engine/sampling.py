"""How an epoch is cut into batches of row numbers; a function of the seed and the epoch alone."""

from __future__ import annotations

import torch
from torch import Tensor

_SEED_STRIDE = 1_000_003


def generator_of(seed: int, number: int) -> torch.Generator:
    """Return the source of the random choices of one epoch or one step."""
    return torch.Generator().manual_seed(seed * _SEED_STRIDE + number)


def shuffled_batches(samples: int, size: int, generator: torch.Generator) -> list[Tensor]:
    """Return every row once, in random order, in full batches (size,) int64; a last part is left out."""
    rows = torch.randperm(samples, generator=generator)
    return list(rows[: samples // size * size].view(-1, size))


def paired_batches(labels: Tensor, size: int, generator: torch.Generator) -> list[Tensor]:
    """Return batches of size / 2 pairs of rows with equal labels, every row at most once.

    Args:
        labels: (N,) int64.
        size: Rows of a batch; even.
        generator: Source of every random choice.

    Returns:
        Full batches (size,) int64; odd rows and a last part are left out, in equal number in every epoch.
    """
    shuffled = torch.randperm(len(labels), generator=generator)
    rows = shuffled[labels[shuffled].argsort(stable=True)]
    runs = rows.split(torch.bincount(labels).tolist())
    pairs = torch.cat([rows.new_empty(0, 2), *(run[: len(run) // 2 * 2].view(-1, 2) for run in runs)])
    pairs = pairs[torch.randperm(len(pairs), generator=generator)]
    per_batch = size // 2
    return list(pairs[: len(pairs) // per_batch * per_batch].reshape(-1, size))
