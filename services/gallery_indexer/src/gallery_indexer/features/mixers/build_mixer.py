"""Builds the mixer that a bundle names; a new kind is one file in this directory and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from aff_shared.bundles.bundle import FeatureSpec, MixerKind, MixerSpec
from gallery_indexer.features.mixers.anchored import AnchoredMixer
from gallery_indexer.features.mixers.identity import IdentityMixer
from gallery_indexer.features.mixers.laff import LaffMixer
from gallery_indexer.features.mixers.mlp import MlpMixer
from gallery_indexer.features.mixers.orthogonal import OrthogonalMixer
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
