"""Each compatibility loss against hand arithmetic, and where its gradient goes."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from aff_toolkit.training.losses.arcface import ArcFace
from aff_toolkit.training.losses.compatibility_loss import CompatibilityLoss
from aff_toolkit.training.losses.compatible_embeddings import CompatibleEmbeddings
from aff_toolkit.training.losses.contextual_similarity import ContextualSimilarity
from aff_toolkit.training.losses.contrastive import Contrastive
from aff_toolkit.training.losses.loss_inputs import LossInputs
from aff_toolkit.training.losses.regression import Regression

LOSSES = [ArcFace(), Regression(), Contrastive(), ContextualSimilarity(), CompatibleEmbeddings()]


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


def test_contrastive_draws_to_all_of_the_label_and_pushes_beyond_the_margin() -> None:
    q, g = [0.0, 0.1, 1.0], [0.2, 0.5, 0.9]
    labels, margin = [0, 0, 1], 0.6
    positive, negative = [], []
    for i in range(3):
        for j in range(3):
            cosine = math.cos(q[i] - g[j])
            if labels[i] == labels[j]:
                positive.append(1 - cosine)
            else:
                negative.append(max(0.0, cosine - margin))
    expected = sum(positive) / len(positive) + sum(negative) / len(negative)
    inputs = LossInputs(unit(*q), unit(*g), torch.eye(2), torch.tensor(labels))
    assert Contrastive(margin=margin)(inputs).item() == pytest.approx(expected, rel=1e-5)


def test_contrastive_without_a_negative_is_finite() -> None:
    inputs = LossInputs(unit(0.0, 0.1), unit(0.0, 0.1), torch.eye(2), torch.tensor([1, 1]))
    assert math.isfinite(Contrastive()(inputs).item())


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


def test_compatible_embeddings_charge_the_angle_and_what_exceeds_the_boundary() -> None:
    q, g, centres = [0.5, 1.2], [0.2, 1.9], [0.0, 1.5]
    angles = [0.5, 0.3]
    boundaries = [0.2, 0.4]
    beyond = [max(0.0, a - b) for a, b in zip(angles, boundaries, strict=True)]
    expected = (sum(angles) + 2.0 * sum(beyond)) / 2
    inputs = LossInputs(unit(*q), unit(*g), 3.0 * unit(*centres), torch.tensor([0, 1]))
    assert CompatibleEmbeddings(boundary_weight=2.0)(inputs).item() == pytest.approx(expected, rel=1e-4)


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


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(ValidationError, match="hinge"):
        TypeAdapter(CompatibilityLoss).validate_python({"kind": "hinge"})
