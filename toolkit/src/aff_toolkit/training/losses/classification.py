"""Losses of classification: ArcFace, which is L_disc and L_comp of the paper, and supervised contrastive loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

_EDGE = 1e-6
_SHORTEST = 1e-12


@dataclass(frozen=True, slots=True)
class LossInputs:
    """A batch in the embedding space.

    The caller determines the gradients: decoupled, `g` is detached and `prototypes` is the buffer w_q; coupled, both
    have gradients. Losses detach neither.

    Attributes:
        q: (B, D) float32, unit length: embeddings of the query encoder.
        g: (B, D) float32, unit length: embeddings of the mixer for the same photographs.
        prototypes: (C, D) float32, of any length.
        labels: (B,) int64 in [0, C).
    """

    q: Tensor
    g: Tensor
    prototypes: Tensor
    labels: Tensor


class LossSettings(BaseModel):
    """Base of the settings of a loss.

    Attributes:
        weight: Factor of the loss in the sum.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(default=1.0, gt=0)


def arcface_loss(embeddings: Tensor, prototypes: Tensor, labels: Tensor, *, scale: float, margin: float) -> Tensor:
    """Additive angular margin loss (Deng et al., CVPR 2019, eq. 3; Wu et al., CVPR 2023).

    Args:
        embeddings: (B, D), unit length.
        prototypes: (C, D), of any length; the products are divided by it, which avoids a second (C, D) tensor.
        labels: (B,) int64 in [0, C).
        scale: Multiplier of the cosines.
        margin: Angle in radians that is added between an embedding and its prototype.

    Returns:
        Scalar, the mean over the batch.
    """
    inverse_lengths = torch.linalg.vector_norm(prototypes, dim=1).clamp_min(_SHORTEST).reciprocal()
    products = embeddings @ prototypes.T
    own = (products.gather(1, labels[:, None]) * inverse_lengths[labels, None]).clamp(-1 + _EDGE, 1 - _EDGE)
    with_margin = scale * torch.cos((own.acos() + margin).clamp(max=torch.pi))
    # In place, because every copy is (B, C); the backward of the product reads its factors only.
    logits = (products * (scale * inverse_lengths)).scatter_(1, labels[:, None], with_margin)
    return F.cross_entropy(logits, labels)


class ArcFace(LossSettings):
    """Classify the query embeddings by the prototypes.

    Attributes:
        scale: Multiplier of the cosines.
        margin: Additive angular margin in radians.
    """

    kind: Literal["arcface"] = "arcface"
    scale: float = Field(default=24.0, gt=0)
    margin: float = Field(default=0.2, ge=0, lt=1.5)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return the unweighted loss, a scalar."""
        return arcface_loss(inputs.q, inputs.prototypes, inputs.labels, scale=self.scale, margin=self.margin)


def supervised_contrastive_loss(embeddings: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Supervised contrastive loss within a batch (Khosla et al., NeurIPS 2020, eq. 2).

    Args:
        embeddings: (B, D), unit length.
        labels: (B,) int64; every label occurs at least twice.
        temperature: Divisor of the cosines.

    Returns:
        Scalar, the mean over the batch.
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    logits = (embeddings @ embeddings.T / temperature).masked_fill(itself, float("-inf"))
    positive = (labels[:, None] == labels[None]) & ~itself
    log_shares = logits.log_softmax(dim=1).masked_fill(~positive, 0.0)
    return -(log_shares.sum(dim=1) / positive.sum(dim=1)).mean()
