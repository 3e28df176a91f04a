"""The device that networks run on."""

from __future__ import annotations

import torch

from aff_shared.resource_limits import usable_cores


def device_named(name: str) -> torch.device:
    """Return `cpu`, `cuda`, or, for `auto`, CUDA where there is a card."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def limit_threads() -> None:
    """Have torch use no more threads than this process has cores; by itself it takes all of the machine's."""
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
