"""Mixers to compare the transformer with: none, a perceptron, LAFF, orthogonal fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import FeatureSpec, MixerSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Average tokens (B, n, d) over the True entries of the mask (B, n): (B, d), zero if there are none."""
    weights = mask.to(tokens.dtype)[..., None]
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def pooled(feature: FeatureBatch) -> Tensor:
    """Return a global feature unchanged, or the mean of a local one: (B, d)."""
    return masked_mean(feature.values, feature.mask)


class IdentityMixer(nn.Module):
    """No fusion: one global feature, unchanged (asymmetric metric learning: Budnik and Avrithis, CVPR 2021).

    The gallery side of a single extractor, without parameters: the baseline of a fusion.
    """

    def __init__(self, features: Sequence[FeatureSpec], _spec: MixerSpec, dimension: int) -> None:
        super().__init__()
        fitting = [feature for feature in features if feature.kind == "global" and feature.dimension == dimension]
        if len(features) != 1 or not fitting:
            found = ", ".join(f"{feature.name} ({feature.kind}, {feature.dimension}-d)" for feature in features)
            raise ValueError(f"the identity mixer takes one global feature of width {dimension}, not {found}")
        self.feature_name = fitting[0].name

    def forward(self, features: Mapping[str, FeatureBatch]) -> Tensor:
        """Return the feature: (B, D) float32, unit length; zero for an image without it."""
        return F.normalize(features[self.feature_name].values[:, 0].float(), dim=-1)


class MlpMixer(nn.Module):
    """A perceptron of `layers` hidden layers over the concatenated global features and means of local ones.

    The plain baseline of the paper (Wu et al., CVPR 2023).
    """

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


class LaffMixer(nn.Module):
    """Lightweight attentional feature fusion (LAFF: Hu et al., ECCV 2022).

    A convex combination of projected features; the weights are a softmax over one linear score per feature.

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


_EPSILON = 1e-6


class OrthogonalMixer(nn.Module):
    """Orthogonal fusion of local and global features (DOLG: Yang et al., ICCV 2021).

    Concatenates the global feature with the mean of the local tokens' parts that are orthogonal to it.

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
