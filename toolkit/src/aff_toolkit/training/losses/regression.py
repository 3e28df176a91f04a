"""Regression of the query embedding to the gallery embedding."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from aff_toolkit.training.losses.loss_inputs import LossInputs, LossSettings


def regression_loss(q: Tensor, g: Tensor) -> Tensor:
    """Mean of 1 - cosine, the regression of asymmetric metric learning (Budnik and Avrithis, CVPR 2021).

    Args:
        q: (B, D), unit length.
        g: (B, D), unit length: the targets.
    """
    return 1.0 - (q * g).sum(dim=1).mean()


class Regression(LossSettings):
    """Bring the query embedding of a photograph to the photograph's own gallery embedding (AML REG)."""

    kind: Literal["reg"] = "reg"

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return the unweighted loss, a scalar."""
        return regression_loss(inputs.q, inputs.g)
