"""Asymmetric contrastive loss: query embeddings as anchors, gallery embeddings as positives and negatives."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from aff_toolkit.training.losses.loss_inputs import LossInputs, LossSettings

# Below it, the gradient of a distance would grow without bound.
_LEAST_SQUARED_DISTANCE = 1e-6


def asymmetric_contrastive_loss(q: Tensor, g: Tensor, labels: Tensor, *, margin: float, negatives: int) -> Tensor:
    """Contrastive loss on Euclidean distances across the two models (AML: Budnik and Avrithis, CVPR 2021).

    A positive costs d^2 / 2, a negative max(0, margin - d)^2 / 2. Positives of a query are the gallery embeddings of
    its label in the batch, its own photograph among them, which are averaged; negatives are the nearest ones of other
    labels, which are summed. The paper mines both from the whole training set.

    Args:
        q: (B, D), unit length.
        g: (B, D), unit length.
        labels: (B,) int64.
        margin: Distance below which a negative costs.
        negatives: How many negatives of a query count at most.

    Returns:
        Scalar, the mean over the batch.
    """
    squared = 2.0 - 2.0 * (q @ g.T)
    positive = labels[:, None] == labels[None]
    attraction = (squared.masked_fill(~positive, 0.0) / 2).sum(dim=1) / positive.sum(dim=1)
    distances = squared.clamp(min=_LEAST_SQUARED_DISTANCE).sqrt().masked_fill(positive, torch.inf)
    nearest = distances.topk(min(negatives, len(g)), dim=1, largest=False).values
    repulsion = ((margin - nearest).clamp(min=0.0).square() / 2).sum(dim=1)
    return (attraction + repulsion).mean()


class Contrastive(LossSettings):
    """Pull a query embedding to the gallery embeddings of its instance, push it from the others (AML).

    Attributes:
        margin: Distance below which a negative costs.
        negatives: How many negatives of a query count at most.
    """

    kind: Literal["contrastive"] = "contrastive"
    margin: float = Field(default=0.7, gt=0, le=2)
    negatives: int = Field(default=5, ge=1)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return the unweighted loss, a scalar."""
        return asymmetric_contrastive_loss(
            inputs.q, inputs.g, inputs.labels, margin=self.margin, negatives=self.negatives
        )
