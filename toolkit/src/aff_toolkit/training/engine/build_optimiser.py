"""Builds the optimiser that a recipe chooses."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aff_toolkit.training.engine.optimisation_section import OptimisationSection
from aff_toolkit.training.engine.trainable import Side


def build_optimiser(sides: Sequence[Side], section: OptimisationSection) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter, 2019), or SGD with momentum, with a group of parameters for each side."""
    groups = [{"params": side.parameters} for side in sides]
    if section.optimiser == "adamw":
        # One kernel for all parameters: beside light networks, a loop over them takes a tenth of a step.
        return torch.optim.AdamW(groups, lr=section.learning_rate, weight_decay=section.weight_decay, fused=True)
    return torch.optim.SGD(
        groups, lr=section.learning_rate, momentum=section.sgd_momentum, weight_decay=section.weight_decay
    )
