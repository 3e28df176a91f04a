"""Fits the last layer of a query encoder to gallery embeddings by ridge regression; this project's own step.

The joint training of the paper moves the whole query encoder by gradients. With few photographs that costs accuracy on
photographs of other kinds. Its whitening layer alone has a closed solution, which stays close to the layer as it was,
takes one pass over the photographs, and needs no labels.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from aff_toolkit.training.feature_store.feature_store import FeatureStore
from aff_toolkit.training.light_network import LightNetwork
from aff_toolkit.training.query_encoder import QueryEncoder
from aff_toolkit.training.validation import stretch

_BATCH = 64
MOST_PHOTOGRAPHS = 20_000


class HeadFitting(BaseModel):
    """How the whitening layer follows the mixer.

    Attributes:
        ridge: Weight of the squared change of the layer, beside the mean squared error on the photographs.
        rounds: How often the mixer is trained and the layer fitted to it. From the second round on, a new mixer starts
            at the anchor with the layer as the round before left it: each round carries some of what the mixer has
            found over to the network that the anchor and the query side share.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ridge: float = Field(default=3e-4, gt=0)
    rounds: int = Field(default=1, ge=1)


def fitted_layer(encoder: QueryEncoder) -> nn.Linear | None:
    """Return the layer that can be fitted; None where the whitening is not one linear layer."""
    head = encoder.network.whitening if isinstance(encoder.network, LightNetwork) else None
    return head if isinstance(head, nn.Linear) else None


@torch.inference_mode()
def pooled_photographs(encoder: QueryEncoder, store: FeatureStore, rows: NDArray[np.int64], size: int) -> Tensor:
    """Return what the whitening layer takes in for kept photographs: (n, C) float32.

    Args:
        encoder: Has a fitted_layer; left as it is.
        store: Keeps the pixels.
        rows: (n,) of readable photographs.
        size: Side in pixels of the encoder's input.
    """
    network = copy.deepcopy(encoder.network).eval()
    assert isinstance(network, LightNetwork), "fitted_layer has seen to it"
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU
    parts = []
    for start in range(0, len(rows), _BATCH):
        images = stretch(torch.from_numpy(store.read_pixels(rows[start : start + _BATCH])), size)
        parts.append(network.pooled(images.permute(0, 3, 1, 2)))
    return torch.cat(parts).clone()


@torch.no_grad()
def fit_head(head: nn.Linear, pooled: Tensor, targets: Tensor, ridge: float) -> None:
    """Change a layer so that its outputs point where the targets do.

    The change minimises the mean over the photographs of |W x + b - r g|^2, where r is the length of the output before
    the change, plus ridge times the squared change of W and b.

    Args:
        head: (C to D), changed in place.
        pooled: (n, C) float32.
        targets: (n, D) float32, unit length: the gallery embeddings.
        ridge: Above 0.
    """
    outputs = head(pooled)
    errors = targets * outputs.norm(dim=1, keepdim=True) - outputs
    inputs = torch.cat([pooled, torch.ones(len(pooled), 1)], dim=1).double()
    gram = inputs.T @ inputs / len(inputs) + ridge * torch.eye(inputs.shape[1], dtype=torch.float64)
    change = torch.linalg.solve(gram, inputs.T @ errors.double() / len(inputs)).float()
    head.weight.add_(change[:-1].T)
    head.bias.add_(change[-1])
