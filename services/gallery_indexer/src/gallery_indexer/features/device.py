"""The device that networks run on."""

from __future__ import annotations

import torch

from aff_shared.resource_limits import usable_cores


def device_named(name: str) -> torch.device:
    """Return the device `cpu` or `cuda`; for `auto`, CUDA if there is a GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def limit_threads() -> None:
    """Limit torch's threads to the cores of this process; its default is the machine's cores."""
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
