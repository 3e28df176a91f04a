"""Builds the mixer that a bundle names, with its anchor; a new kind is a class in this directory and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import FeatureSpec, MixerKind, MixerSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.mixers.alternative_mixers import IdentityMixer, LaffMixer, MlpMixer, OrthogonalMixer
from gallery_indexer.features.mixers.transformer import DynamicMixer

_KINDS: Mapping[MixerKind, Callable[[Sequence[FeatureSpec], MixerSpec, int], nn.Module]] = {
    "transformer": DynamicMixer,
    "mlp": MlpMixer,
    "laff": LaffMixer,
    "orthogonal": OrthogonalMixer,
    "identity": IdentityMixer,
}


def build_mixer(features: Sequence[FeatureSpec], spec: MixerSpec, dimension: int) -> nn.Module:
    """Build a mixer with random weights; it maps features by name to (B, dimension) float32 of unit length.

    Args:
        features: The features, in the mixer's order.
        spec: Kind and size.
        dimension: Width of the embedding, D.

    Raises:
        ValueError: The kind does not support these features or this width.
    """
    mixer = _KINDS[spec.kind](features, spec, dimension)
    if spec.anchor is None:
        return mixer
    anchors = [feature for feature in features if feature.name == spec.anchor and feature.kind == "global"]
    if not anchors:
        raise ValueError(f"the anchor {spec.anchor!r} is not a global feature of this gallery side")
    if dimension > anchors[0].dimension:
        raise ValueError(f"the anchor {spec.anchor!r} is {anchors[0].dimension} wide, too narrow for {dimension}")
    return AnchoredMixer(mixer, anchors[0], dimension)


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
