"""Supervised contrastive loss, of the pretraining."""

from __future__ import annotations

import torch
from torch import Tensor


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
