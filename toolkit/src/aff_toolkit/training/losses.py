"""Losses of the joint training, as pure functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def arcface_loss(embeddings: Tensor, prototypes: Tensor, labels: Tensor, *, scale: float, margin: float) -> Tensor:
    """Additive angular margin loss (Deng et al., CVPR 2019, eq. 3); both L_disc and L_comp of the paper.

    Args:
        embeddings: (B, D), unit length.
        prototypes: (C, D), of any length; they are normalised here.
        labels: (B,) int64 in [0, C).
        scale: Multiplier of the cosines.
        margin: Angle in radians that is added between an embedding and its own prototype.

    Returns:
        Scalar, the mean over the batch.
    """
    cosines = embeddings @ F.normalize(prototypes, dim=1).T
    own = cosines.gather(1, labels[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
    with_margin = torch.cos((own.acos() + margin).clamp(max=torch.pi))
    return F.cross_entropy(scale * cosines.scatter(1, labels[:, None], with_margin), labels)


def regression_loss(embeddings: Tensor, targets: Tensor) -> Tensor:
    """Mean of 1 - cosine, the regression of asymmetric metric learning (Budnik and Avrithis, CVPR 2021).

    Args:
        embeddings: (B, D), unit length.
        targets: (B, D), unit length; no gradient reaches them (decoupled).
    """
    return 1.0 - (embeddings * targets.detach()).sum(dim=1).mean()


def supervised_contrastive_loss(embeddings: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Supervised contrastive loss within a batch (Khosla et al., NeurIPS 2020, eq. 2).

    Args:
        embeddings: (B, D), unit length.
        labels: (B,) int64; every label stands at least twice.
        temperature: Divisor of the cosines.

    Returns:
        Scalar, the mean over the batch.
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    logits = (embeddings @ embeddings.T / temperature).masked_fill(itself, float("-inf"))
    positive = (labels[:, None] == labels[None]) & ~itself
    log_shares = logits.log_softmax(dim=1).masked_fill(~positive, 0.0)
    return -(log_shares.sum(dim=1) / positive.sum(dim=1)).mean()
