"""Orthogonal fusion of local and global features (DOLG: Yang et al., ICCV 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import FeatureSpec, MixerSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.mixers.masked_mean import masked_mean

_EPSILON = 1e-6


class OrthogonalMixer(nn.Module):
    """Concatenates the global feature with the mean of the local tokens' parts that are orthogonal to it.

    DOLG has one global feature and one map of local features. Here every feature is projected to width D; the global
    feature is the mean of an image's global features, and the local ones are all its local tokens. Without global
    features, the mean of the local tokens replaces them; without local features, the local part is zero. DOLG's
    attention over its local map is omitted, since the extractors already select their strongest tokens.
    """

    def __init__(self, features: Sequence[FeatureSpec], spec: MixerSpec, dimension: int) -> None:
        super().__init__()
        self.global_names = tuple(feature.name for feature in features if feature.kind == "global")
        self.local_names = tuple(feature.name for feature in features if feature.kind == "local")
        self.projections = nn.ModuleDict(
            {feature.name: nn.Linear(feature.dimension, dimension) for feature in features}
        )
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear(2 * dimension, dimension)

    def forward(self, features: Mapping[str, FeatureBatch]) -> Tensor:
        """Fuse one batch: (B, D) float32, unit length."""
        whole = self._global_feature(features)
        apart = torch.zeros_like(whole)
        if self.local_names:
            tokens, mask = self._local_tokens(features)
            along = (tokens @ whole[..., None]) / whole.square().sum(dim=1)[:, None, None].clamp(min=_EPSILON)
            apart = masked_mean(tokens - along * whole[:, None], mask)
        return F.normalize(self.head(self.dropout(torch.cat([whole, apart], dim=1))).float(), dim=-1)

    def _global_feature(self, features: Mapping[str, FeatureBatch]) -> Tensor:
        if not self.global_names:
            return masked_mean(*self._local_tokens(features))
        projected = torch.stack(
            [self.projections[name](features[name].values[:, 0]) for name in self.global_names], dim=1
        )
        return masked_mean(projected, torch.cat([features[name].mask for name in self.global_names], dim=1))

    def _local_tokens(self, features: Mapping[str, FeatureBatch]) -> tuple[Tensor, Tensor]:
        tokens = torch.cat([self.projections[name](features[name].values) for name in self.local_names], dim=1)
        return tokens, torch.cat([features[name].mask for name in self.local_names], dim=1)
