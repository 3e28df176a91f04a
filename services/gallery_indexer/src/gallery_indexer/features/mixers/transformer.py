"""The dynamic mixer: fuses an image's features into one embedding (Wu et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import FeatureSpec, MixerSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch

_TOKEN_STD = 0.02


class DynamicMixer(nn.Module):
    """A post-norm transformer over feature tokens; the output is a learnable fusion token.

    Every feature is projected to the common width D by a separate linear map. A learnable embedding per feature marks
    the tokens' origin, which the paper does not specify. Missing tokens are masked.
    """

    def __init__(self, features: Sequence[FeatureSpec], spec: MixerSpec, dimension: int) -> None:
        super().__init__()
        if dimension % spec.heads:
            raise ValueError(f"{spec.heads} heads do not divide {dimension} channels")
        self.feature_names = tuple(feature.name for feature in features)
        self.projections = nn.ModuleDict(
            {feature.name: nn.Linear(feature.dimension, dimension, bias=False) for feature in features}
        )
        self.origins = nn.ParameterDict(
            {feature.name: nn.Parameter(torch.randn(dimension) * _TOKEN_STD) for feature in features}
        )
        self.fusion_token = nn.Parameter(torch.randn(dimension) * _TOKEN_STD)
        layer = nn.TransformerEncoderLayer(
            d_model=dimension,
            nhead=spec.heads,
            dim_feedforward=round(dimension * spec.mlp_ratio),
            dropout=spec.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=False,
        )
        self.transformer = nn.TransformerEncoder(layer, spec.layers, enable_nested_tensor=False)

    def forward(self, features: Mapping[str, FeatureBatch]) -> Tensor:
        """Fuse one batch.

        Args:
            features: A batch (B, n_i, d_i) with its mask for each feature of the mixer.

        Returns:
            g_mix: (B, D) float32, unit length.
        """
        tokens = torch.cat([self._project(name, features[name]) for name in self.feature_names], dim=1)
        present = torch.cat([features[name].mask for name in self.feature_names], dim=1)
        fusion = self.fusion_token.expand(len(tokens), 1, -1)
        absent = F.pad(~present, (1, 0), value=False)
        z = torch.cat([fusion, tokens], dim=1)
        *layers, last = cast("list[nn.TransformerEncoderLayer]", list(self.transformer.layers))
        for layer in layers:
            z = layer(z, src_key_padding_mask=absent)
        return F.normalize(_read_out(last, z, absent).float(), dim=-1)

    def _project(self, name: str, batch: FeatureBatch) -> Tensor:
        projected: Tensor = self.projections[name](batch.values)
        origin: Tensor = self.origins[name]
        return projected + origin


def _read_out(layer: nn.TransformerEncoderLayer, z: Tensor, absent: Tensor) -> Tensor:
    """Run a post-norm layer for its first token only, which saves most of the work: the others are not used.

    Args:
        layer: The last layer.
        z: (B, N + 1, D) tokens, the fusion token first.
        absent: (B, N + 1) bool; True for a missing token.

    Returns:
        (B, D).
    """
    first = z[:, :1]
    attended, _ = layer.self_attn(first, z, z, key_padding_mask=absent, need_weights=False)
    inner = layer.norm1(first + layer.dropout1(attended))
    widened = layer.dropout(layer.activation(layer.linear1(inner)))
    mixed: Tensor = layer.norm2(inner + layer.dropout2(layer.linear2(widened)))
    return mixed[:, 0]
