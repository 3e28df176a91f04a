"""XFeat (Potje et al., CVPR 2024) as a local extractor: the strongest keypoints with their descriptors."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_model
from torch import Tensor

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.local_features import strongest_tokens
from gallery_indexer.features.extractors.shape_batches import LandmarkExtractor, Pixels, on_device
from gallery_indexer.features.extractors.xfeat_keypoints import XFeatKeypoints, detect_xfeat_keypoints
from gallery_indexer.features.networks.frozen import autocast
from gallery_indexer.features.networks.xfeat import DESCRIPTOR_WIDTH, XFeat


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

    def __init__(self, spec: ExtractorSpec, network: XFeat, device: torch.device) -> None:
        super().__init__(spec, network, device)
        self._config = XFeatConfig.model_validate(spec.config)

    @classmethod
    def load(cls, spec: ExtractorSpec, weights: Path, device: torch.device) -> XFeatExtractor:
        """Build the network and load its weights, in either precision."""
        network = XFeat()
        load_model(network, weights)
        return cls(spec, network, device)

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
