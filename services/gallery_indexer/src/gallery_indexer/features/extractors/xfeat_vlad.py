"""XFeat with one detection for two features: the strongest keypoints as tokens, and all of them in a VLAD."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.shape_batches import LandmarkExtractor, Pixels, on_device
from gallery_indexer.features.extractors.vlad import VladEncoder, VladNormalisation
from gallery_indexer.features.extractors.xfeat import XFeatConfig, xfeat_feature, xfeat_tokens
from gallery_indexer.features.extractors.xfeat_keypoints import XFeatKeypoints, detect_xfeat_keypoints
from gallery_indexer.features.networks.frozen import autocast
from gallery_indexer.features.networks.xfeat import DESCRIPTOR_WIDTH, XFeat

NETWORK = "network."  # prefix of the network's weights in the file, which also has those of VladEncoder


class XFeatVladConfig(XFeatConfig):
    """The `config` of the specification.

    Attributes:
        clusters: Number of centres of the codebook.
        normalisation: See `vlad`.
        max_descriptors: Number of strongest keypoints in the VLAD.
    """

    clusters: int = Field(default=64, ge=1)
    normalisation: VladNormalisation = "intra"
    max_descriptors: int = Field(default=500, ge=1)


class XFeatVlad(LandmarkExtractor[XFeat]):
    """The features of XFeat: optional tokens as in the family `xfeat`, and a VLAD.

    A photograph without keypoints has neither: both masks are False.
    """

    FAMILY: ClassVar[str] = "xfeat_vlad"

    def __init__(self, spec: ExtractorSpec, network: XFeat, encoder: VladEncoder, device: torch.device) -> None:
        super().__init__(spec, network, device)
        self._config = XFeatVladConfig.model_validate(spec.config)
        self._encoder = encoder
        (self._global,) = (feature for feature in spec.features if feature.kind == "global")
        self._local = next((feature for feature in spec.features if feature.kind == "local"), None)
        encoder.require(DESCRIPTOR_WIDTH, self._global.dimension)

    @classmethod
    def load(cls, spec: ExtractorSpec, weights: Path, device: torch.device) -> XFeatVlad:
        """Read the network, the codebook and the whitening from one file."""
        tensors = load_file(weights)
        network = XFeat()
        network.load_state_dict(
            {name.removeprefix(NETWORK): tensor for name, tensor in tensors.items() if name.startswith(NETWORK)}
        )
        arrays = {name: tensor.float().numpy() for name, tensor in tensors.items() if not name.startswith(NETWORK)}
        return cls(spec, network, VladEncoder.from_arrays(arrays, spec.config["normalisation"]), device)

    def _features(self, pixels: Pixels) -> dict[str, FeatureBatch]:
        with autocast(self._device, self.spec.config):
            found = detect_xfeat_keypoints(
                self._network,
                on_device(pixels, self._device),
                threshold=self._config.detection_threshold,
                count=self._config.max_descriptors,
            )
        features = {self._global.name: FeatureBatch.from_global(self._vlad(found))}
        if self._local is not None:
            features[self._local.name] = xfeat_tokens(found, self._local.max_tokens)
        return features

    def _vlad(self, found: XFeatKeypoints) -> Tensor:
        vectors = np.stack([self._encoder.encode(one) for one in found.described()])
        return torch.from_numpy(vectors).to(self._device)


def xfeat_vlad_spec(
    config: XFeatVladConfig,
    *,
    name: str,
    size: int,
    max_tokens: int,
    dimension: int | None,
    weights: str,
    weights_source: str,
) -> ExtractorSpec:
    """Return the specification of XFeat with VLAD for photographs with a longest side of `size` pixels.

    Args:
        config: See XFeatVladConfig.
        name: Name of the local feature; the extractor and the global feature are `<name>_vlad`.
        size: Longest side in pixels.
        max_tokens: Number of strongest keypoints in the local feature; 0 for no local feature.
        dimension: Width of the VLAD after PCA whitening; None for no whitening, clusters * 64.
        weights: Path of network, codebook and whitening in the bundle.
        weights_source: Origin of the weights.
    """
    width = config.clusters * DESCRIPTOR_WIDTH if dimension is None else dimension
    whole = FeatureSpec(name=f"{name}_vlad", kind="global", dimension=width, max_tokens=1)
    tokens = [xfeat_feature(name, max_tokens)] if max_tokens else []
    return ExtractorSpec(
        name=f"{name}_vlad",
        family=XFeatVlad.FAMILY,
        preprocessing=Preprocessing(resize="longest_side", size=size),
        features=(whole, *tokens),
        weights=weights,
        weights_source=weights_source,
        config=config.model_dump(mode="json"),
    )
