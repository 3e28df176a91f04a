"""The last layer of a query encoder, fitted to gallery embeddings."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from aff_toolkit.training.head_fitting import fit_head, fitted_layer
from aff_toolkit.training.light_network import efficientnet_lite
from aff_toolkit.training.query_encoder import QueryEncoder, residual_query_encoder

C, D, COUNT = 6, 3, 400


def example() -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    """A layer, inputs, and targets that a turned layer would give."""
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


def test_a_whitening_with_batch_statistics_is_not_fitted() -> None:
    assert fitted_layer(residual_query_encoder(4, D)) is None
    assert fitted_layer(QueryEncoder(efficientnet_lite("lite0", D))) is not None
