"""XFeat (Potje et al., CVPR 2024): the strongest keypoints with their descriptors as a local feature.

With VLAD, one detection has two features: the strongest keypoints as tokens, and all of them in a global feature.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file
from torch import Tensor

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.landmark_extractor import (
    LandmarkExtractor,
    Pixels,
    on_device,
    strongest_tokens,
)
from gallery_indexer.features.extractors.vlad import VladEncoder, VladNormalisation
from gallery_indexer.features.networks.layers import autocast
from gallery_indexer.features.networks.xfeat import DESCRIPTOR_WIDTH, XFeat, XFeatKeypoints, detect_xfeat_keypoints


class XFeatConfig(BaseModel):
    """The `config` of the specification.

    Attributes:
        detection_threshold: Lowest probability of a keypoint; 0.05 is the authors' value.
        stored: Precision of the large convolutions in the weights file; they run in float32 in any case.
        precision: `bf16` runs the network in bfloat16 on a GPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detection_threshold: float = Field(default=0.05, ge=0, lt=1)
    stored: Literal["fp32", "fp16"] = "fp32"
    precision: Literal["fp32", "bf16"] = "fp32"


class XFeatExtractor(LandmarkExtractor[XFeat]):
    """The strongest keypoints of a photograph, with their positions appended; see `xfeat_tokens`.

    A photograph without keypoints has an all-False mask.
    """

    FAMILY: ClassVar[str] = "xfeat"
    FASTER_IN_ONNX_RUNTIME = True

    def __init__(self, spec: ExtractorSpec, network: XFeat, device: torch.device) -> None:
        super().__init__(spec, network, device)
        self._config = XFeatConfig.model_validate(spec.config)

    @classmethod
    def _build(cls, _spec: ExtractorSpec) -> XFeat:
        return XFeat()

    def _features(self, pixels: Pixels) -> dict[str, FeatureBatch]:
        feature = self.spec.features[0]
        with autocast(self._device, self.spec.config):
            found = detect_xfeat_keypoints(
                self._network,
                on_device(pixels, self._device),
                threshold=self._config.detection_threshold,
                count=feature.max_tokens,
            )
        return {feature.name: xfeat_tokens(found, feature.max_tokens)}


def xfeat_tokens(found: XFeatKeypoints, max_tokens: int) -> FeatureBatch:
    """Return the strongest keypoints of B photographs as tokens (B, max_tokens, 66).

    A token is the descriptor (unit length), then x and y from -1 to 1; its strength is the probability of a keypoint
    times its reliability.
    """
    values: Tensor = torch.cat([found.descriptors, 2.0 * found.positions - 1.0], dim=-1)
    return strongest_tokens(values, found.strengths, found.positions, max_tokens)


def xfeat_feature(name: str, max_tokens: int) -> FeatureSpec:
    """Return the specification of the feature of `xfeat_tokens`."""
    return FeatureSpec(name=name, kind="local", dimension=DESCRIPTOR_WIDTH + 2, max_tokens=max_tokens)


def xfeat_spec(
    config: XFeatConfig, *, name: str, size: int, max_tokens: int, weights: str, weights_source: str
) -> ExtractorSpec:
    """Return the specification of an extractor for photographs with a longest side of `size` pixels.

    Args:
        config: See XFeatConfig.
        name: Name of the extractor and of its feature.
        size: Longest side in pixels.
        max_tokens: Largest number of keypoints per photograph.
        weights: Path of the weights in the bundle.
        weights_source: Origin of the weights.
    """
    return ExtractorSpec(
        name=name,
        family=XFeatExtractor.FAMILY,
        preprocessing=Preprocessing(resize="longest_side", size=size),
        features=(xfeat_feature(name, max_tokens),),
        weights=weights,
        weights_source=weights_source,
        config=config.model_dump(mode="json"),
    )


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
    FASTER_IN_ONNX_RUNTIME = True

    def __init__(self, spec: ExtractorSpec, network: XFeat, encoder: VladEncoder, device: torch.device) -> None:
        super().__init__(spec, network, device)
        self._config = XFeatVladConfig.model_validate(spec.config)
        self._encoder = encoder
        (self._global,) = (feature for feature in spec.features if feature.kind == "global")
        self._local = next((feature for feature in spec.features if feature.kind == "local"), None)
        encoder.require(DESCRIPTOR_WIDTH, self._global.dimension)

    @classmethod
    def _build(cls, _spec: ExtractorSpec) -> XFeat:
        return XFeat()

    @classmethod
    def load(cls, spec: ExtractorSpec, weights: Path, device: torch.device) -> Self:
        """Read the network, the codebook and the whitening from one file."""
        tensors = load_file(weights)
        network = cls._build(spec)
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
