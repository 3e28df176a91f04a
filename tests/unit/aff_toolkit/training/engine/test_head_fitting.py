"""The last layer of a query encoder, fitted to gallery embeddings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from aff_toolkit.models.query_encoder import QueryEncoder, efficientnet_lite
from aff_toolkit.training.engine.head_fitting import ContextualFitting, RidgeFitting, fit_head, fitted_layer
from gallery_indexer.features.networks.resnet import ResidualNetwork

C, D, COUNT = 6, 3, 400


def example() -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    """A layer, inputs, and targets that a rotated layer would return."""
    torch.manual_seed(4)
    layer, inputs = nn.Linear(C, D), torch.randn(COUNT, C)
    turned = layer(inputs) @ torch.linalg.qr(torch.randn(D, D))[0]
    return layer, inputs, F.normalize(turned, dim=1).detach()


@torch.no_grad()
def agreement(layer: nn.Linear, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    return float((F.normalize(layer(inputs), dim=1) * targets).sum(dim=1).mean())


def test_it_reaches_targets_that_a_layer_can_reach() -> None:
    layer, inputs, targets = example()
    assert agreement(layer, inputs, targets) < 0.9
    fit_head(layer, inputs, targets, ridge=1e-6)
    assert agreement(layer, inputs, targets) == pytest.approx(1.0, abs=1e-4)


def test_the_ridge_holds_it_to_what_it_was() -> None:
    layer, inputs, targets = example()
    before = layer.weight.detach().clone()
    fit_head(layer, inputs, targets, ridge=1e6)
    torch.testing.assert_close(layer.weight, before, rtol=0, atol=1e-4)


def test_it_solves_the_stated_problem() -> None:
    layer, inputs, targets = example()
    before = [layer.weight.detach().clone(), layer.bias.detach().clone()]
    wanted = (targets * layer(inputs).norm(dim=1, keepdim=True)).detach()
    fit_head(layer, inputs, targets, ridge=0.3)
    changes = [layer.weight - before[0], layer.bias - before[1]]
    loss = (layer(inputs) - wanted).square().sum(dim=1).mean() + 0.3 * sum(change.square().sum() for change in changes)
    loss.backward()
    for gradient in (layer.weight.grad, layer.bias.grad):
        assert gradient is not None
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-4)


def test_ridge_regression_takes_the_photographs_and_their_views() -> None:
    layer, inputs, targets = example()
    RidgeFitting(ridge=1e-6).fit(layer, [inputs[:200], inputs[200:]], targets[:200])
    alone, _, _ = example()
    fit_head(alone, torch.cat([inputs[:200], inputs[200:]]), targets[:200].repeat(2, 1), ridge=1e-6)
    torch.testing.assert_close(layer.weight, alone.weight)


def order_kept(layer: nn.Linear, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Share of the ten nearest by the targets that are among the ten nearest by the layer."""
    with torch.no_grad():
        found = F.normalize(layer(inputs), dim=1) @ targets.T
    wanted, nearest = ((similarities).topk(10, dim=1).indices for similarities in (targets @ targets.T, found))
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(wanted.tolist(), nearest.tolist(), strict=True)]))


def test_contextual_similarity_learns_which_photographs_are_alike() -> None:
    layer, inputs, targets = example()
    before = order_kept(layer, inputs, targets)
    fitting = ContextualFitting(learning_rate=0.05, gallery_temperature=0.1, share=1.0)
    fitting.fit(layer, [inputs, inputs + 0.01], targets)
    assert before < 0.5
    assert order_kept(layer, inputs, targets) > 0.8


def test_a_share_of_the_change_is_kept() -> None:
    layers = {}
    for share in (0.5, 1.0):
        layers[share], inputs, targets = example()
        ContextualFitting(steps=5, share=share).fit(layers[share], [inputs], targets)
    start = example()[0].weight
    torch.testing.assert_close(2 * (layers[0.5].weight - start), layers[1.0].weight - start, rtol=1e-3, atol=1e-6)


def test_a_whitening_with_batch_statistics_is_not_fitted() -> None:
    assert fitted_layer(QueryEncoder(ResidualNetwork(8, D))) is None
    assert fitted_layer(QueryEncoder(efficientnet_lite("lite0", D))) is not None
