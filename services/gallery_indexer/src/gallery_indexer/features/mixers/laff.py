"""Lightweight attentional feature fusion (LAFF: Hu et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import FeatureSpec, MixerSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.mixers.masked_mean import pooled


class LaffMixer(nn.Module):
    """A convex combination of projected features; the weights are a softmax over one linear score per feature.

    Every feature, or the mean of a local one, is projected by a separate linear map and tanh. `heads` such blocks of
    D / heads channels are concatenated, each of unit length, so that the cosine of two embeddings is the mean of the
    heads' cosines.
    """

    def __init__(self, features: Sequence[FeatureSpec], spec: MixerSpec, dimension: int) -> None:
        super().__init__()
        if dimension % spec.heads:
            raise ValueError(f"{spec.heads} heads do not divide {dimension} channels")
        self.feature_names = tuple(feature.name for feature in features)
        self.projections = nn.ModuleDict(
            {feature.name: nn.Linear(feature.dimension, dimension) for feature in features}
        )
        self.heads = spec.heads
        self.dropout = nn.Dropout(spec.dropout)
        self.attention = nn.Parameter(torch.randn(spec.heads, dimension // spec.heads) * 0.02)

    def forward(self, features: Mapping[str, FeatureBatch]) -> Tensor:
        """Fuse one batch: (B, D) float32, unit length."""
        projected = [torch.tanh(self.projections[name](pooled(features[name]))) for name in self.feature_names]
        stacked = self.dropout(torch.stack(projected, dim=1)).unflatten(2, (self.heads, -1))
        # A feature without a token has no weight.
        present = torch.stack([features[name].mask.any(dim=1) for name in self.feature_names], dim=1)
        scores = torch.einsum("bkhc,hc->bkh", stacked, self.attention)
        scores = scores.masked_fill(~present[..., None] & present.any(dim=1)[:, None, None], float("-inf"))
        fused = (scores.softmax(dim=1)[..., None] * stacked).sum(dim=1)
        return F.normalize(F.normalize(fused.float(), dim=-1).flatten(1), dim=-1)
