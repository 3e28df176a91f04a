"""No fusion: one global feature, unchanged (asymmetric metric learning, Budnik and Avrithis, CVPR 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import FeatureSpec, MixerSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch


class IdentityMixer(nn.Module):
    """The gallery side of a single extractor, without parameters: the baseline of a fusion."""

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
