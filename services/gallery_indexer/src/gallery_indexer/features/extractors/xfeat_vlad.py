"""XFeat twice from one detection: the strongest keypoints as tokens, and all of them in a VLAD global."""

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

NETWORK = "network."  # before the names of the network's weights in the file, beside those of VladEncoder


class XFeatVladConfig(XFeatConfig):
    """What stands in the specification's `config`.

    Attributes:
        clusters: Centres of the codebook.
        normalisation: See `vlad`.
        max_descriptors: Strongest keypoints that are summed up.
    """

    clusters: int = Field(default=64, ge=1)
    normalisation: VladNormalisation = "intra"
    max_descriptors: int = Field(default=500, ge=1)


class XFeatVlad(LandmarkExtractor[XFeat]):
    """The features of XFeat: tokens as the family `xfeat` gives them, which may be left out, and a VLAD.

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
        """Read the network, the codebook and the whitening, all of one file."""
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
        features = {self._global.name: FeatureBatch.from_global(self._summed_up(found))}
        if self._local is not None:
            features[self._local.name] = xfeat_tokens(found, self._local.max_tokens)
        return features

    def _summed_up(self, found: XFeatKeypoints) -> Tensor:
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
    """Describe XFeat with VLAD on photographs reduced to a longest side of `size` pixels.

    Args:
        config: See XFeatVladConfig.
        name: Of the local feature; the extractor and the global are `<name>_vlad`.
        size: Pixels of the longest side.
        max_tokens: Strongest keypoints that the mixer gets one by one; 0 gives the VLAD alone.
        dimension: Width of the VLAD after PCA whitening; None leaves it clusters * 64 wide.
        weights: Path of network, codebook and whitening in the bundle.
        weights_source: Where they are from.
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
