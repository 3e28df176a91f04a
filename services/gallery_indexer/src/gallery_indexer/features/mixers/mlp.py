"""Fusion by a perceptron on the concatenated features, the plain baseline (Wu et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import FeatureSpec, MixerSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.mixers.masked_mean import pooled


class MlpMixer(nn.Module):
    """A perceptron of `layers` hidden layers over the concatenated global features and means of local ones."""

    def __init__(self, features: Sequence[FeatureSpec], spec: MixerSpec, dimension: int) -> None:
        super().__init__()
        self.feature_names = tuple(feature.name for feature in features)
        hidden = round(dimension * spec.mlp_ratio)
        widths = [sum(feature.dimension for feature in features), *[hidden] * spec.layers]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.GELU(), nn.Dropout(spec.dropout)]
        self.body = nn.Sequential(*layers, nn.Linear(hidden, dimension))

    def forward(self, features: Mapping[str, FeatureBatch]) -> Tensor:
        """Fuse one batch: (B, D) float32, unit length."""
        concatenated = torch.cat([pooled(features[name]) for name in self.feature_names], dim=1)
        return F.normalize(self.body(concatenated).float(), dim=-1)
