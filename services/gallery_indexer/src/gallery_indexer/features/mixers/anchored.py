"""A mixer that adds to an embedding which the query side already reaches; this project's method, not the paper's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import FeatureSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch


class AnchoredMixer(nn.Module):
    """The light network's embedding of the gallery image plus a linear map of the fused features.

    In the paper (Wu et al., CVPR 2023) the gallery embedding is the mixer's output alone, and the query encoder has to
    learn an arbitrary space. Here one of the frozen extractors is the query side's network before the joint training;
    its feature, whitened as on the query side, is the *anchor*. The linear map of the mixer's output starts at zero, so
    asymmetric search starts at the accuracy of the light network on both sides.

    The anchor's map consists of buffers: no gradient reaches it.
    """

    anchor_weight: Tensor
    anchor_bias: Tensor

    def __init__(self, mixer: nn.Module, anchor: FeatureSpec, dimension: int) -> None:
        """Add an anchor to a mixer.

        Args:
            mixer: A mixer of any kind; returns (B, D), unit length.
            anchor: The global feature that the embedding starts from.
            dimension: Width of the embedding, D.
        """
        super().__init__()
        self.anchor_name = anchor.name
        self.register_buffer("anchor_weight", torch.eye(dimension, anchor.dimension))
        self.register_buffer("anchor_bias", torch.zeros(dimension))
        self.mixer = mixer
        self.addition = nn.Linear(dimension, dimension, bias=False)
        nn.init.zeros_(self.addition.weight)

    @torch.no_grad()
    def set_anchor(self, weight: Tensor, bias: Tensor) -> None:
        """Set the map of the anchor, weight (D, d) and bias (D,), to that of the query side's whitening layer."""
        self.anchor_weight.copy_(weight)
        self.anchor_bias.copy_(bias)

    def forward(self, features: Mapping[str, FeatureBatch]) -> Tensor:
        """Fuse one batch: (B, D) float32, unit length."""
        return F.normalize(self.start(features) + self.addition(self.mixer(features)).float(), dim=-1)

    def start(self, features: Mapping[str, FeatureBatch]) -> Tensor:
        """Return the light network's embeddings (B, D), unit length; zero for an image without the feature."""
        feature = features[self.anchor_name]
        mapped = F.linear(feature.values[:, 0].float(), self.anchor_weight, self.anchor_bias)
        return F.normalize(mapped, dim=-1) * feature.mask
