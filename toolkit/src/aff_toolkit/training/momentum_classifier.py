"""The shared classifier and its momentum copy (Wu et al., CVPR 2023, sec. 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MomentumClassifier(nn.Module):
    """Prototypes `w_mix`, which learn with the mixer, and `w_q`, which follow them for the query side.

    Attributes:
        w_mix: (C, D) parameter.
        w_q: (C, D) buffer; no gradient ever reaches it.
    """

    w_q: Tensor

    def __init__(self, classes: int, dimension: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.w_mix = nn.Parameter(torch.empty(classes, dimension))
        nn.init.xavier_uniform_(self.w_mix)
        self.register_buffer("w_q", self.w_mix.detach().clone())

    @torch.no_grad()
    def follow(self) -> None:
        """Set w_q to alpha * w_q + (1 - alpha) * w_mix; called after every optimiser step."""
        self.w_q.lerp_(self.w_mix, 1.0 - self.momentum)
