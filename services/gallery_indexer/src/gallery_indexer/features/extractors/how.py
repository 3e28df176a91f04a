"""Local descriptors of HOW (Tolias, Jenicek, Chum, ECCV 2020): the strongest smoothed activations of all scales.

RGB, ImageNet normalisation. The authors reduce photographs with Pillow's thumbnail, this project with its own
antialiased filter; the other steps are equal. A descriptor's strength is its activation's norm divided by the
photograph's largest; descriptors are not of unit length.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.landmark_extractor import (
    LandmarkExtractor,
    Pixels,
    cell_positions,
    on_device,
    strongest_tokens,
)
from gallery_indexer.features.networks.layers import autocast, normalise
from gallery_indexer.features.networks.resnet import ResNet

HowDepth = Literal[18, 50]

_INPUT_SIZE = 1024
_SCALES = (2.0, 1.414, 1.0, 0.707, 0.5, 0.353, 0.25)
_DIMENSION = 128
_TOKENS = 1000
_SMOOTHING = 3
_LEAST_NORM = 1e-10


class HowNetwork(nn.Module):
    """Trunk, attention by norm, smoothing and a linear map to fewer dimensions.

    The trunk is a ResNet-18, or a ResNet-50 without its last stage (the authors' R50-).
    """

    def __init__(self, depth: HowDepth, dimension: int = _DIMENSION) -> None:
        super().__init__()
        self.trunk = ResNet(depth, stages=3 if depth == 50 else 4)  # noqa: PLR2004 - the authors' R50-
        self.dim_reduction = nn.Conv2d(self.trunk.out_channels, dimension, 1)

    def forward(self, pixels: Tensor, scales: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Describe every cell of every scale of normalised (B, 3, H, W) pixels.

        Returns:
            Descriptors (B, N, d), strengths (B, N) in (0, 1], positions (N, 2); scale by scale, row by row.
        """
        values, norms, positions = zip(*(self._at_scale(pixels, scale) for scale in scales), strict=True)
        strengths = torch.cat(norms, dim=1)
        return torch.cat(values, dim=1), strengths / strengths.amax(dim=1, keepdim=True), torch.cat(positions)

    def _at_scale(self, pixels: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
        resized = F.interpolate(
            pixels, scale_factor=scale, mode="bilinear", align_corners=False, recompute_scale_factor=True
        )
        activations = self.trunk(resized)
        norms = (activations.float().pow(2).sum(dim=1) + _LEAST_NORM).sqrt()
        smoothed = F.avg_pool2d(activations, _SMOOTHING, stride=1, padding=1, count_include_pad=False)
        reduced = self.dim_reduction(smoothed).flatten(2).transpose(1, 2)
        height, width = norms.shape[1:]
        cells = torch.arange(height * width, device=pixels.device)
        return reduced, norms.flatten(1), cell_positions(cells, height, width)


class HowExtractor(LandmarkExtractor[HowNetwork]):
    """The frozen network as an extractor of one local feature.

    `config`: `depth`; `scales`; `precision`.
    """

    FAMILY: ClassVar[str] = "how"

    def __init__(self, spec: ExtractorSpec, network: HowNetwork, device: torch.device) -> None:
        super().__init__(spec, network, device)
        self._scales = tuple(float(scale) for scale in spec.config["scales"])

    @classmethod
    def _build(cls, spec: ExtractorSpec) -> HowNetwork:
        return HowNetwork(spec.config["depth"], spec.features[0].dimension)

    def _features(self, pixels: Pixels) -> dict[str, FeatureBatch]:
        feature = self.spec.features[0]
        with autocast(self._device, self.spec.config):
            values, strengths, positions = self._network(normalise(on_device(pixels, self._device)), self._scales)
        return {feature.name: strongest_tokens(values, strengths, positions, feature.max_tokens)}


def how_spec(depth: HowDepth, weights: str, weights_source: str) -> ExtractorSpec:
    """Return the specification of an extractor with the paper's size, scales and number of descriptors."""
    return ExtractorSpec(
        name=f"how_r{depth}",
        family=HowExtractor.FAMILY,
        preprocessing=Preprocessing(resize="longest_side", size=_INPUT_SIZE),
        features=(FeatureSpec(name=f"how_r{depth}", kind="local", dimension=_DIMENSION, max_tokens=_TOKENS),),
        weights=weights,
        weights_source=weights_source,
        config={"depth": depth, "scales": list(_SCALES)},
    )
