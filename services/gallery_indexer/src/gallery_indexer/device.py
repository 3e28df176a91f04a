"""The device that networks run on."""

from __future__ import annotations

import torch


def device_named(name: str) -> torch.device:
    """Return `cpu`, `cuda`, or, for `auto`, CUDA where there is a card."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
