"""Learning compatible embeddings: classify, align with the class centres, stay within the gallery's boundary."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from aff_toolkit.training.losses.arcface import arcface_loss
from aff_toolkit.training.losses.loss_inputs import LossInputs, LossSettings


def alignment(q: Tensor, centres: Tensor) -> Tensor:
    """Return the mean squared difference, over batch and channels, of q (B, D) and its class centres (B, D)."""
    return F.mse_loss(q, centres)


def boundary_excess(q: Tensor, g: Tensor, centres: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the cosine of q to its centre falls below the class's boundary, the mean over the batch.

    The boundary of a class is the least cosine of its gallery embeddings to the centre; it is a constant.

    Args:
        q: (B, D), unit length.
        g: (B, D), unit length.
        centres: (B, D), unit length: the centre of each row's class.
        labels: (B,) int64.
    """
    reached = (g * centres).sum(dim=1).detach()
    alike = labels[:, None] == labels[None]
    boundary = reached[None].expand_as(alike).masked_fill(~alike, torch.inf).amin(dim=1)
    return (boundary - (q * centres).sum(dim=1)).clamp(min=0.0).mean()


class CompatibleEmbeddings(LossSettings):
    """LCE (Meng et al., ICCV 2021), with the weights of the authors' released code.

    The new model is classified, its classes are aligned with the centres of the old model, and its embeddings are
    kept within the old model's boundary of each class. Here the old model is the gallery side: the centres are the
    shared prototypes, the boundary of a class follows from its gallery embeddings in the batch (the original takes the
    whole training set), the query embeddings themselves stand for the new model's centres, and the original's
    transformation between two spaces falls away, because both sides share one.

    Attributes:
        alignment_weight: Factor of the alignment.
        boundary_weight: Factor of the excess over the boundary.
        scale: Of ArcFace, the classification.
        margin: Of ArcFace, in radians.
    """

    kind: Literal["lce"] = "lce"
    alignment_weight: float = Field(default=100.0, ge=0)
    boundary_weight: float = Field(default=1.0, ge=0)
    scale: float = Field(default=24.0, gt=0)
    margin: float = Field(default=0.2, ge=0, lt=1.5)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return the unweighted loss, a scalar."""
        centres = F.normalize(inputs.prototypes[inputs.labels], dim=1)
        classified = arcface_loss(inputs.q, inputs.prototypes, inputs.labels, scale=self.scale, margin=self.margin)
        return (
            classified
            + self.alignment_weight * alignment(inputs.q, centres)
            + self.boundary_weight * boundary_excess(inputs.q, inputs.g, centres, inputs.labels)
        )
