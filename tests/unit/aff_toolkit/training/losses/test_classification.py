import math

import pytest
import torch

from aff_toolkit.training.losses.classification import arcface_loss, supervised_contrastive_loss


def unit(*angles: float) -> torch.Tensor:
    return torch.tensor([[math.cos(a), math.sin(a)] for a in angles])


def test_arcface_equals_the_equation_by_hand() -> None:
    scale, margin = 3.0, 0.3
    embeddings, prototypes = unit(0.2, 1.9), 3.0 * unit(0.0, 1.5)
    labels = torch.tensor([0, 1])
    losses = []
    for angles, label in (((0.2, 1.3), 0), ((1.9, 0.4), 1)):
        logits = [scale * math.cos(a + (margin if c == label else 0.0)) for c, a in enumerate(angles)]
        losses.append(-logits[label] + math.log(sum(math.exp(z) for z in logits)))
    loss = arcface_loss(embeddings, prototypes, labels, scale=scale, margin=margin)
    assert loss.item() == pytest.approx(sum(losses) / 2, rel=1e-5)


def test_arcface_without_margin_is_cross_entropy_of_cosines() -> None:
    torch.manual_seed(0)
    embeddings = torch.nn.functional.normalize(torch.randn(4, 8), dim=1)
    prototypes = torch.nn.functional.normalize(torch.randn(5, 8), dim=1)
    labels = torch.tensor([0, 1, 2, 4])
    expected = torch.nn.functional.cross_entropy(7.0 * embeddings @ prototypes.T, labels)
    loss = arcface_loss(embeddings, prototypes, labels, scale=7.0, margin=0.0)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_arcface_has_finite_gradients_at_its_own_prototype_and_opposite_to_it() -> None:
    prototypes = torch.eye(2, requires_grad=True)
    embeddings = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    arcface_loss(embeddings, prototypes, torch.tensor([0, 0]), scale=30.0, margin=0.5).backward()
    assert torch.isfinite(embeddings.grad).all()
    assert torch.isfinite(prototypes.grad).all()


def test_the_full_size_of_the_paper_fits_and_steps() -> None:
    classes, width = 81_313, 512
    torch.manual_seed(0)
    prototypes = torch.nn.Parameter(torch.randn(classes, width))
    embeddings = torch.nn.functional.normalize(torch.randn(4, width), dim=1)
    optimiser = torch.optim.SGD([prototypes], lr=100.0, momentum=0.9)
    labels = torch.tensor([0, 1, 40_000, classes - 1])
    before = arcface_loss(embeddings, prototypes, labels, scale=24.0, margin=0.2)
    before.backward()
    optimiser.step()
    after = arcface_loss(embeddings, prototypes, labels, scale=24.0, margin=0.2)
    assert after.item() < before.item()


def test_the_gradients_are_those_of_finite_differences() -> None:
    source = torch.Generator().manual_seed(1)
    embeddings = torch.nn.functional.normalize(torch.randn(3, 4, dtype=torch.float64, generator=source), dim=1)
    prototypes = 2.0 * torch.randn(5, 4, dtype=torch.float64, generator=source)
    labels = torch.tensor([0, 4, 4])
    assert torch.autograd.gradcheck(
        lambda e, p: arcface_loss(e, p, labels, scale=6.0, margin=0.2),
        (embeddings.requires_grad_(), prototypes.requires_grad_()),
    )


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
