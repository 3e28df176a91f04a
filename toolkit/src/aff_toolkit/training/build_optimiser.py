"""The optimiser that a section of a recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from aff_toolkit.training.optimisation_section import OptimisationSection


def build_optimiser(parameters: Sequence[nn.Parameter], section: OptimisationSection) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter, 2019), or SGD with momentum, over `parameters`."""
    if section.optimiser == "adamw":
        # One kernel for all parameters: beside light networks, a loop over them takes a tenth of a step.
        return torch.optim.AdamW(parameters, lr=section.learning_rate, weight_decay=section.weight_decay, fused=True)
    return torch.optim.SGD(
        parameters, lr=section.learning_rate, momentum=section.sgd_momentum, weight_decay=section.weight_decay
    )
