"""Learning compatible embeddings: align with the class centres, and stay within the gallery model's boundary."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from aff_toolkit.training.losses.loss_inputs import LossInputs, LossSettings

_EDGE = 1e-6


def compatible_embeddings_loss(inputs: LossInputs, *, boundary_weight: float) -> Tensor:
    """Point-to-set compatibility (Meng et al., ICCV 2021: alignment of class centres, restriction of the boundary).

    The centres are the shared prototypes. A query embedding is drawn to its own centre, and further where its angle to
    the centre exceeds that of its photograph's gallery embedding. The original's transformation between spaces of two
    models falls away, because both sides share one space.

    Args:
        inputs: The batch.
        boundary_weight: Factor of the part beyond the boundary.

    Returns:
        Scalar, in radians.
    """
    centres = F.normalize(inputs.prototypes[inputs.labels], dim=1)
    angle = (inputs.q * centres).sum(dim=1).clamp(-1 + _EDGE, 1 - _EDGE).acos()
    boundary = (inputs.g * centres).sum(dim=1).clamp(-1 + _EDGE, 1 - _EDGE).acos()
    return (angle + boundary_weight * (angle - boundary).clamp(min=0.0)).mean()


class CompatibleEmbeddings(LossSettings):
    """Align query embeddings with the class centres, within the gallery embeddings' boundary (LCE).

    Attributes:
        boundary_weight: Factor of the part beyond the boundary.
    """

    kind: Literal["lce"] = "lce"
    boundary_weight: float = Field(default=1.0, ge=0)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return the unweighted loss, a scalar."""
        return compatible_embeddings_loss(inputs, boundary_weight=self.boundary_weight)
