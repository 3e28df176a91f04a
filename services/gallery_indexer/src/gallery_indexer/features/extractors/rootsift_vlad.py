"""RootSIFT with one detection for two features: the strongest keypoints as tokens, and all of them in a VLAD."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.extractors.rootsift import (
    DESCRIPTOR_WIDTH,
    detect_keypoints,
    rootsift_feature,
    sift_detector,
    strongest_tokens,
)
from gallery_indexer.features.extractors.vlad import VladEncoder, VladNormalisation


class RootSiftVlad:
    """The features `rootsift` (local, as in the family of that name) and `rootsift_vlad` (global).

    The VLAD aggregates all detected keypoints, the `max_descriptors` strongest; the tokens are the strongest of those.
    The local feature is optional.
    """

    FAMILY: ClassVar[str] = "rootsift_vlad"

    def __init__(self, spec: ExtractorSpec, encoder: VladEncoder) -> None:
        self.spec = spec
        self._encoder = encoder
        (self._global,) = (feature for feature in spec.features if feature.kind == "global")
        self._local = next((feature for feature in spec.features if feature.kind == "local"), None)
        encoder.require(DESCRIPTOR_WIDTH, self._global.dimension)
        self._sift = sift_detector(spec.config["max_descriptors"])

    @classmethod
    def load(cls, spec: ExtractorSpec, weights: Path, _device: torch.device) -> RootSiftVlad:
        """Read codebook and whitening; the device is ignored, since the extractor runs on the CPU."""
        return cls(spec, VladEncoder.load(weights, spec.config["normalisation"]))

    def extract(self, images: Images) -> dict[str, FeatureBatch]:
        """See Extractor; an image without keypoints has neither tokens nor a global: both masks are False."""
        found = [detect_keypoints(self._sift, preprocess(image, self.spec.preprocessing)) for image in images]
        whole = np.stack([self._encoder.encode(keypoints.descriptors) for keypoints in found])
        features = {self._global.name: FeatureBatch.from_global(torch.from_numpy(whole))}
        if self._local is not None:
            features[self._local.name] = strongest_tokens(found, self._local.max_tokens)
        return features


def rootsift_vlad_spec(
    *,
    size: int,
    max_tokens: int | None,
    clusters: int,
    dimension: int | None,
    normalisation: VladNormalisation = "intra",
    max_descriptors: int = 1000,
    weights_source: str,
) -> ExtractorSpec:
    """Return the specification of RootSIFT with VLAD for photographs with a longest side of `size` pixels.

    Args:
        size: Longest side in pixels.
        max_tokens: Number of strongest keypoints in the local feature; None for no local feature.
        clusters: Number of centres of the codebook, k.
        dimension: Width of the VLAD after PCA whitening; None for no whitening, k * 128.
        normalisation: See `vlad`.
        max_descriptors: Number of strongest keypoints in the VLAD; more take time and add weak ones.
        weights_source: Origin of codebook and whitening.
    """
    width = clusters * DESCRIPTOR_WIDTH if dimension is None else dimension
    whole = FeatureSpec(name="rootsift_vlad", kind="global", dimension=width, max_tokens=1)
    tokens = [rootsift_feature(max_tokens)] if max_tokens is not None else []
    return ExtractorSpec(
        name=RootSiftVlad.FAMILY,
        family=RootSiftVlad.FAMILY,
        preprocessing=Preprocessing(resize="longest_side", size=size),
        features=(whole, *tokens),
        weights="extractors/rootsift_vlad.safetensors",
        weights_source=weights_source,
        config={"normalisation": normalisation, "max_descriptors": max_descriptors, "clusters": clusters},
    )
