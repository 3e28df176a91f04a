"""Fits the last layer of a query encoder to gallery embeddings; a step of this project, not of the paper.

The joint training of the paper updates the whole query encoder by gradients. With few photographs that reduces the
accuracy on other kinds of photographs. Fitting the whitening layer alone changes little, needs no labels, and uses the
outputs of the layers below, which are computed once for each photograph.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from aff_toolkit.data import Settings
from aff_toolkit.data.augmentation import Augmentation, augment, stretch
from aff_toolkit.models.query_encoder import LightweightEncoder, QueryEncoder
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.losses import contextual_similarity_loss

# Training stage in which the layer's inputs are computed.
LAST_LAYER = "last layer"

_BATCH = 64


class _Fitting(Settings, ABC):
    """How the whitening layer is fitted to the mixer.

    Attributes:
        rounds: Number of rounds; each trains a mixer and fits the layer to it. From the second round on, a new mixer
            starts at the anchor with the layer of the previous round: each round transfers some of the mixer's gain to
            the network that anchor and query side share.
        views: Augmented versions of each photograph that it is fitted to, in addition to the photograph.
        photographs: Maximum number of photographs that it is fitted to.
    """

    views: ClassVar[int] = 0
    photographs: ClassVar[int] = 20_000

    rounds: int = Field(default=1, ge=1)

    @abstractmethod
    def fit(self, head: nn.Linear, pooled: Sequence[Tensor], targets: Tensor) -> None:
        """Change a layer from C to D in place so that its outputs have the directions of the targets.

        Random choices follow torch's global seed.

        Args:
            head: The layer.
            pooled: Inputs of the layer (n, C) float32, for the photographs and for each of their views.
            targets: (n, D) float32, unit length: the gallery embeddings.
        """


class RidgeFitting(_Fitting):
    """Ridge regression to the gallery embeddings.

    Attributes:
        ridge: Weight of the layer's squared change, relative to the mean squared error on the photographs.
    """

    kind: Literal["ridge"] = "ridge"
    ridge: float = Field(default=3e-4, gt=0)

    def fit(self, head: nn.Linear, pooled: Sequence[Tensor], targets: Tensor) -> None:
        """See _Fitting; the solution is unique (see fit_head), and nothing is random."""
        fit_head(head, torch.cat(list(pooled)), targets.repeat(len(pooled), 1), self.ridge)


class ContextualFitting(_Fitting):
    """Contextual similarity distillation with all photographs as anchors (Wu et al., CVPR 2022).

    A gallery temperature below that of the query sharpens the target: similar photographs become more similar than by
    the mixer, which increases recall.

    Attributes:
        gallery_temperature: See contextual_similarity_loss, as for `query_temperature`.
        learning_rate: Learning rate of Adam at the first step; it decays linearly to 0.
        steps: Number of steps.
        batch_size: Photographs per step.
        share: Share of the change that is kept, from 0 to 1; 1 reduces the accuracy on other kinds of photographs
            (Wortsman et al., CVPR 2022).
    """

    views: ClassVar[int] = 3
    photographs: ClassVar[int] = 5000

    kind: Literal["csd"] = "csd"
    gallery_temperature: float = Field(default=0.07, gt=0)
    query_temperature: float = Field(default=0.1, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    steps: int = Field(default=300, ge=1)
    batch_size: int = Field(default=256, ge=1)
    share: float = Field(default=0.5, gt=0, le=1)

    def fit(self, head: nn.Linear, pooled: Sequence[Tensor], targets: Tensor) -> None:
        """See _Fitting."""
        learner = copy.deepcopy(head)
        optimiser = torch.optim.Adam(learner.parameters(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 1 / self.steps, self.steps)
        for step in range(self.steps):
            rows = torch.randint(len(targets), (self.batch_size,))
            loss = contextual_similarity_loss(
                F.normalize(learner(pooled[step % len(pooled)][rows]), dim=-1),
                targets[rows],
                anchors=targets,
                neighbours=len(targets),
                gallery_temperature=self.gallery_temperature,
                query_temperature=self.query_temperature,
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            for kept, learned in zip(head.parameters(), learner.parameters(), strict=True):
                kept.lerp_(learned, self.share)


HeadFitting = RidgeFitting | ContextualFitting


def fitted_layer(encoder: QueryEncoder) -> nn.Linear | None:
    """Return the layer that can be fitted; None if the whitening is not a single linear layer."""
    head = encoder.network.whitening if isinstance(encoder.network, LightweightEncoder) else None
    return head if isinstance(head, nn.Linear) else None


@torch.inference_mode()
def pooled_photographs(
    encoder: QueryEncoder,
    store: FeatureStore,
    rows: NDArray[np.int64],
    size: int,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """Return the inputs of the whitening layer for stored photographs: (n, C) float32.

    Args:
        encoder: Query encoder with a fitted_layer; not changed.
        store: Feature store with pixels.
        rows: (n,) rows of readable photographs.
        size: Side of the encoder's input in pixels.
        augmentation: Augmentation of the photographs; None uses them unchanged.
        seed: Seed of the augmentation.
        on_progress: Called with the number of photographs since the last call.
    """
    network = copy.deepcopy(encoder.network).eval()
    assert isinstance(network, LightweightEncoder), "fitted_layer requires it"
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU
    parts = []
    for start in range(0, len(rows), _BATCH):
        kept = torch.from_numpy(store.read_pixels(rows[start : start + _BATCH]))
        images = stretch(kept, size) if augmentation is None else augment(kept, size, seed + start, augmentation)
        parts.append(network.pooled(images.permute(0, 3, 1, 2)))
        on_progress(len(kept))
    return torch.cat(parts).clone()


@torch.no_grad()
def fit_head(head: nn.Linear, pooled: Tensor, targets: Tensor, ridge: float) -> None:
    """Change a layer from C to D in place so that its outputs have the directions of the targets.

    The change minimises the mean over the photographs of |W x + b - r g|^2, where x is a row of `pooled` (n, C)
    float32, g one of `targets` (n, D) float32 of unit length, and r the length of the output before the change, plus
    ridge (above 0) times the squared change of W and b.
    """
    outputs = head(pooled)
    errors = targets * outputs.norm(dim=1, keepdim=True) - outputs
    inputs = torch.cat([pooled, torch.ones(len(pooled), 1)], dim=1).double()
    gram = inputs.T @ inputs / len(inputs) + ridge * torch.eye(inputs.shape[1], dtype=torch.float64)
    change = torch.linalg.solve(gram, inputs.T @ errors.double() / len(inputs)).float()
    head.weight.add_(change[:-1].T)
    head.bias.add_(change[-1])
