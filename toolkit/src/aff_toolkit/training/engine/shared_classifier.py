"""The shared classifier and the query side's copy of it (Wu et al., CVPR 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SharedClassifier(nn.Module):
    """Prototypes `w_mix`, which learn with the mixer, and `w_q`, which follow them for the query side.

    Attributes:
        w_mix: (C, D) parameter.
        w_q: (C, D) buffer; no gradient ever reaches it.
    """

    w_q: Tensor

    def __init__(self, classes: int, dimension: int, alpha: float) -> None:
        super().__init__()
        self._alpha = alpha
        self.w_mix = nn.Parameter(torch.empty(classes, dimension))
        nn.init.xavier_uniform_(self.w_mix)
        self.register_buffer("w_q", self.w_mix.detach().clone())

    @torch.no_grad()
    def ema_update(self) -> None:
        """Set w_q to alpha * w_q + (1 - alpha) * w_mix; called after every optimiser step."""
        self.w_q.lerp_(self.w_mix, 1.0 - self._alpha)

    @torch.no_grad()
    def settle(self) -> None:
        """Set w_q to w_mix: the two stages' second one starts so."""
        self.w_q.copy_(self.w_mix)

    def prototypes_for_query(self, *, coupled: bool) -> Tensor:
        """Return what the query side is classified by: w_mix itself, with its gradient, or w_q."""
        return self.w_mix if coupled else self.w_q
