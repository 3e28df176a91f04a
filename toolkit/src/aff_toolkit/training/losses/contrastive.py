"""Asymmetric contrastive loss: query embeddings as anchors, gallery embeddings as positives and negatives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from aff_toolkit.training.losses.loss_inputs import LossInputs, LossSettings


def asymmetric_contrastive_loss(q: Tensor, g: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    """Contrastive loss on cosines across the two models (Budnik and Avrithis, CVPR 2021, sec. 3.2).

    Positives of a query are the gallery embeddings of its label in the batch, its own photograph among them; all others
    are negatives. Each kind is averaged by itself, where the paper sums over mined pairs.

    Args:
        q: (B, D), unit length.
        g: (B, D), unit length.
        labels: (B,) int64.
        margin: Cosine above which a negative costs.

    Returns:
        Scalar.
    """
    cosines = q @ g.T
    positive = labels[:, None] == labels[None]
    attraction = (1.0 - cosines)[positive].mean()
    repulsion = (cosines - margin).clamp(min=0.0).masked_fill(positive, 0.0).sum() / (~positive).sum().clamp(min=1)
    return attraction + repulsion


class Contrastive(LossSettings):
    """Pull a query embedding to the gallery embeddings of its instance, push it from the others (AML).

    Attributes:
        margin: Cosine above which a negative costs.
    """

    kind: Literal["contrastive"] = "contrastive"
    margin: float = Field(default=0.3, ge=-1, lt=1)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return the unweighted loss, a scalar."""
        return asymmetric_contrastive_loss(inputs.q, inputs.g, inputs.labels, margin=self.margin)
