from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from aff_toolkit.training.losses import (
    ArcFace,
    CompatibilityLoss,
    CompatibleEmbeddings,
    ContextualSimilarity,
    Contrastive,
    LossInputs,
    Regression,
    arcface_loss,
)


def unit_rows(*angles: float) -> torch.Tensor:
    return torch.tensor([[math.cos(a), math.sin(a)] for a in angles])


def test_arcface_equals_the_equation_by_hand() -> None:
    scale, margin = 3.0, 0.3
    embeddings, prototypes = unit_rows(0.2, 1.9), 3.0 * unit_rows(0.0, 1.5)
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


LOSSES = [loss() for loss in get_args(get_args(CompatibilityLoss)[0])]


def unit(*angles: float) -> Tensor:
    return torch.tensor([[math.cos(a), math.sin(a)] for a in angles])


def random_inputs(*, coupled: bool = False) -> LossInputs:
    torch.manual_seed(4)
    q, g = (torch.nn.functional.normalize(torch.randn(6, 5), dim=1) for _ in range(2))
    prototypes = torch.randn(4, 5, requires_grad=coupled)
    return LossInputs(q.requires_grad_(), g.requires_grad_(coupled), prototypes, torch.tensor([0, 1, 0, 2, 3, 1]))


def test_regression_is_the_mean_of_one_minus_cosine() -> None:
    inputs = LossInputs(unit(0.0, 0.0), unit(0.0, math.pi / 3), torch.eye(2), torch.tensor([0, 1]))
    assert Regression()(inputs).item() == pytest.approx((0.0 + 0.5) / 2)


def test_contrastive_draws_to_all_of_the_label_and_pushes_the_nearest_others_beyond_the_margin() -> None:
    q, g = [0.0, 0.1, 1.0, 0.4], [0.2, 0.5, 0.9, 0.3]
    labels, margin, kept = [0, 0, 1, 2], 0.6, 2
    total = 0.0
    for i in range(4):
        distances = [2 * math.sin(abs(q[i] - g[j]) / 2) for j in range(4)]
        positive = [d * d / 2 for d, label in zip(distances, labels, strict=True) if label == labels[i]]
        others = sorted(d for d, label in zip(distances, labels, strict=True) if label != labels[i])[:kept]
        total += sum(positive) / len(positive) + sum(max(0.0, margin - d) ** 2 / 2 for d in others)
    inputs = LossInputs(unit(*q), unit(*g), torch.eye(3), torch.tensor(labels))
    assert Contrastive(margin=margin, negatives=kept)(inputs).item() == pytest.approx(total / 4, rel=1e-5)


def test_contrastive_is_finite_without_a_negative_and_for_equal_embeddings() -> None:
    for labels in ([1, 1], [0, 1]):
        q = unit(0.3, 0.3).requires_grad_()
        loss = Contrastive()(LossInputs(q, unit(0.3, 0.3), torch.eye(2), torch.tensor(labels)))
        loss.backward()
        assert q.grad is not None
        assert math.isfinite(loss.item())
        assert torch.isfinite(q.grad).all()


def test_contextual_similarity_equals_a_slow_loop() -> None:
    q, g, kept = [0.0, 0.6, 1.4], [0.1, 0.5, 1.5], 2
    warm, cold = 0.3, 0.2
    total = 0.0
    for i in range(3):
        anchors = sorted(range(3), key=lambda j: -math.cos(g[i] - g[j]))[:kept]
        target = [math.exp(math.cos(g[i] - g[j]) / warm) for j in anchors]
        found = [math.exp(math.cos(q[i] - g[j]) / cold) for j in anchors]
        for t, f in zip(target, found, strict=True):
            share, other = t / sum(target), f / sum(found)
            total += share * math.log(share / other)
    loss = ContextualSimilarity(neighbours=kept, gallery_temperature=warm, query_temperature=cold)
    inputs = LossInputs(unit(*q), unit(*g), torch.eye(2), torch.tensor([0, 1, 0]))
    assert loss(inputs).item() == pytest.approx(total / 3, rel=1e-4)


def test_contextual_similarity_is_zero_where_both_models_agree() -> None:
    inputs = LossInputs(unit(0.0, 0.6, 1.4), unit(0.0, 0.6, 1.4), torch.eye(2), torch.tensor([0, 1, 0]))
    assert ContextualSimilarity()(inputs).item() == pytest.approx(0.0, abs=1e-6)


def test_compatible_embeddings_classify_align_and_keep_within_the_boundary_of_the_class() -> None:
    q, g, centres, labels = [0.5, 1.2, 0.1], [0.2, 1.9, 0.3], [0.0, 1.5], [0, 1, 0]
    squares, excess = [], []
    for i in range(3):
        centre = centres[labels[i]]
        squares += [(math.cos(q[i]) - math.cos(centre)) ** 2, (math.sin(q[i]) - math.sin(centre)) ** 2]
        boundary = min(math.cos(g[j] - centre) for j in range(3) if labels[j] == labels[i])
        excess.append(max(0.0, boundary - math.cos(q[i] - centre)))
    assert sum(value > 0 for value in excess) == 1
    inputs = LossInputs(unit(*q), unit(*g), 3.0 * unit(*centres), torch.tensor(labels))
    classified = ArcFace(scale=8.0, margin=0.1)(inputs).item()
    expected = classified + 50.0 * sum(squares) / 6 + 2.0 * sum(excess) / 3
    loss = CompatibleEmbeddings(alignment_weight=50.0, boundary_weight=2.0, scale=8.0, margin=0.1)
    assert loss(inputs).item() == pytest.approx(expected, rel=1e-5)


def test_the_boundary_of_compatible_embeddings_is_a_constant() -> None:
    inputs = random_inputs(coupled=True)
    CompatibleEmbeddings()(inputs).backward()
    assert inputs.g.grad is None


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
def test_every_loss_teaches_the_query_side(loss: CompatibilityLoss) -> None:
    inputs = random_inputs()
    loss(inputs).backward()
    assert inputs.q.grad is not None
    assert torch.isfinite(inputs.q.grad).all()
    assert inputs.q.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
def test_a_coupled_loss_reaches_the_gallery_side(loss: CompatibilityLoss) -> None:
    inputs = random_inputs(coupled=True)
    loss(inputs).backward()
    reached = [t for t in (inputs.g, inputs.prototypes) if t.grad is not None and t.grad.abs().sum() > 0]
    assert reached


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
def test_a_recipe_names_a_loss_by_its_kind(loss: CompatibilityLoss) -> None:
    found = TypeAdapter(CompatibilityLoss).validate_python({"kind": loss.kind, "weight": 2.5})
    assert type(found) is type(loss)
    assert found.weight == 2.5


def test_an_unknown_loss_is_rejected() -> None:
    with pytest.raises(ValidationError, match="hinge"):
        TypeAdapter(CompatibilityLoss).validate_python({"kind": "hinge"})
