from __future__ import annotations

import math

import pytest
import torch

from aff_toolkit.training.stages.pretraining import supervised_contrastive_loss


def test_the_contrastive_loss_equals_a_slow_loop() -> None:
    source = torch.Generator().manual_seed(3)
    embeddings = torch.nn.functional.normalize(torch.randn(7, 4, generator=source), dim=1)
    labels, temperature = [0, 1, 0, 2, 1, 2, 0], 0.2
    total = 0.0
    for i, label in enumerate(labels):
        similarity = [float(embeddings[i] @ embeddings[j]) / temperature for j in range(7)]
        denominator = sum(math.exp(similarity[j]) for j in range(7) if j != i)
        positives = [j for j in range(7) if j != i and labels[j] == label]
        total -= sum(math.log(math.exp(similarity[j]) / denominator) for j in positives) / len(positives)
    loss = supervised_contrastive_loss(embeddings, torch.tensor(labels), temperature=temperature)
    assert loss.item() == pytest.approx(total / 7, rel=1e-5)


def test_the_contrastive_loss_has_finite_gradients_for_equal_embeddings() -> None:
    embeddings = torch.tensor([[0.6, 0.8]] * 4, requires_grad=True)
    supervised_contrastive_loss(embeddings, torch.tensor([0, 0, 1, 1]), temperature=0.05).backward()
    assert torch.isfinite(embeddings.grad).all()
