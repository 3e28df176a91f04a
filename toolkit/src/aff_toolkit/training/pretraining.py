"""Pretraining of the compact network and of the query encoder, on instances that the joint training never sees.

The paper starts from extractors trained elsewhere and from a query backbone with ImageNet weights. Where neither is at
hand, a contrastive loss on pairs of photographs teaches a network from scratch far faster than prototypes do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from aff_toolkit.training.augmentation import augment
from aff_toolkit.training.batch import Batch
from aff_toolkit.training.feature_store.feature_store import FeatureStore
from aff_toolkit.training.losses.supervised_contrastive import supervised_contrastive_loss
from aff_toolkit.training.trainable import Trainable
from gallery_indexer.extractors.compact_cnn import CompactCnn

_WHITENING_IMAGES = 2000
_BATCH = 64


class ContrastivePretraining(Trainable):
    """A network with the supervised contrastive loss over the pairs of a batch.

    Attributes:
        network: What learns.
    """

    def __init__(
        self, network: nn.Module, embed: Callable[[Tensor], Tensor], *, train_size: int, temperature: float
    ) -> None:
        """Wrap a network.

        Args:
            network: What learns.
            embed: Takes (B, S, S, 3) float32 from 0 to 255 through the network to unit embeddings (B, D).
            train_size: S, pixels of a side.
            temperature: Of the loss.
        """
        super().__init__()
        self.network = network
        self._embed = embed
        self._train_size = train_size
        self._temperature = temperature

    def sides(self) -> list[list[nn.Parameter]]:
        """See Trainable."""
        return [list(self.parameters())]

    def after_step(self) -> None:
        """See Trainable: nothing follows."""

    def forward(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Return the loss of a batch in which every label stands at least twice."""
        embeddings = self._embed(augment(batch.pixels, self._train_size, seed)).float()
        return {"contrastive": supervised_contrastive_loss(embeddings, batch.labels, temperature=self._temperature)}


@torch.inference_mode()
def fit_local_whitening(network: CompactCnn, photographs: FeatureStore, tokens: int, seed: int) -> None:
    """Fit the whitening of a trained network's local descriptors on a sample of the photographs."""
    network.eval()
    readable = np.flatnonzero(photographs.readable)
    sample = readable[
        torch.randperm(len(readable), generator=torch.Generator().manual_seed(seed))[:_WHITENING_IMAGES].numpy()
    ]
    descriptors = []
    for start in range(0, len(sample), _BATCH):
        pixels = torch.from_numpy(photographs.read_pixels(np.sort(sample)[start : start + _BATCH]))
        activations = network.activations(pixels.permute(0, 3, 1, 2))
        descriptors.append(network.strongest_activations(activations, tokens).flatten(0, 1))
    network.fit_local_whitening(torch.cat(descriptors))
