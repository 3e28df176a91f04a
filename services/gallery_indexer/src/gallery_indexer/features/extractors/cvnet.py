"""Global descriptors of CVNet (Lee et al., CVPR 2022), or with SuperGlobal's pooling (Shao et al., ICCV 2023).

The network was trained in pycls: BGR, ImageNet normalisation. CVNet resizes the 8-bit photograph for each scale with
OpenCV (by area for smaller scales, else bilinearly) and averages unit vectors. SuperGlobal resizes the normalised
pixels, clamps early activations (ReLUP), mixes each activation with its neighbourhood (regional GeM), pools with a
larger exponent (GeM+) and takes the maximum over scales (scale GeM with an infinite exponent).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.landmark_extractor import LandmarkExtractor, Pixels, on_device
from gallery_indexer.features.networks.layers import GeM, autocast, normalise
from gallery_indexer.features.networks.resnet import Depth, ResNet

Pooling = Literal["gem", "superglobal"]

_INPUT_SIZE = 1024
_SCALES = (0.7071, 1.0, 1.4142)
_DIMENSION = 2048
_FLOOR = 0.014
_REGION, _REGION_EXPONENT = 5, 2.5
_EXPONENT, _LEAST = 4.6, 1e-8


class CvNet(nn.Module):
    """Trunk, GeM and a linear layer."""

    def __init__(self, depth: Depth, dimension: int = _DIMENSION) -> None:
        super().__init__()
        self.trunk = ResNet(depth)
        self.pool = GeM()
        self.fc = nn.Linear(self.trunk.out_channels, dimension)

    def forward(self, pixels: Tensor, pooling: Pooling) -> Tensor:
        """Describe normalised BGR pixels (B, 3, H, W) of one scale: (B, D) float32, unit length."""
        activations = self.trunk(pixels)
        pooled = self.pool(activations) if pooling == "gem" else F.normalize(_superglobal(activations.float()), dim=-1)
        return F.normalize(self.fc(pooled).float(), dim=-1)


def _superglobal(activations: Tensor) -> Tensor:
    """Pool (B, C, h, w) to (B, C) by regional GeM and GeM+."""
    margin = _REGION // 2
    # A map that is too small for mirroring repeats its edge; the authors' code fails on it.
    mode = "reflect" if min(activations.shape[-2:]) > margin else "replicate"
    padded = F.pad(activations, [margin] * 4, mode=mode)
    # lp_pool2d sums and GeM averages.
    regional = F.lp_pool2d(padded, _REGION_EXPONENT, _REGION, stride=1) / _REGION ** (2 / _REGION_EXPONENT)
    mixed = 0.5 * (regional + activations)
    powers: Tensor = mixed.clamp(min=_LEAST).pow(_EXPONENT)
    return powers.mean(dim=(-2, -1)).pow(1 / _EXPONENT)


class CvNetExtractor(LandmarkExtractor[CvNet]):
    """The frozen network as an extractor of one global feature.

    `config`: `depth`; `scales`; `pooling`, `gem` or `superglobal`; `antialias`, whether SuperGlobal's resizing is
    antialiased (the default of torchvision since 0.17, which its authors' code uses; False as before); `precision`.
    """

    FAMILY: ClassVar[str] = "cvnet"

    def __init__(self, spec: ExtractorSpec, network: CvNet, device: torch.device) -> None:
        self._scales = tuple(float(scale) for scale in spec.config["scales"])
        self._pooling: Pooling = spec.config["pooling"]
        if self._pooling == "superglobal":
            network.trunk.raise_activations(_FLOOR)
        super().__init__(spec, network, device)

    @classmethod
    def _build(cls, spec: ExtractorSpec) -> CvNet:
        return CvNet(spec.config["depth"], spec.features[0].dimension)

    def _features(self, pixels: Pixels) -> dict[str, FeatureBatch]:
        with autocast(self._device, self.spec.config):
            vectors = torch.stack([self._network(scaled, self._pooling) for scaled in self._at_scales(pixels)])
        merged = vectors.mean(dim=0) if self._pooling == "gem" else vectors.amax(dim=0)
        return {self.spec.features[0].name: FeatureBatch.from_global(F.normalize(merged, dim=-1))}

    def _at_scales(self, pixels: Pixels) -> Iterator[Tensor]:
        """Yield one scale after another, so that a GPU runs while the CPU resizes for the next one."""
        if self._pooling == "gem":
            yield from (self._bgr(_resized(pixels, scale)) for scale in self._scales)
            return
        whole = self._bgr(pixels)
        antialias = bool(self.spec.config.get("antialias", True))
        for scale in self._scales:
            size = [int(side * scale) for side in whole.shape[-2:]]
            yield F.interpolate(whole, size, mode="bilinear", align_corners=False, antialias=antialias)

    def _bgr(self, pixels: Pixels) -> Tensor:
        return normalise(on_device(pixels, self._device)).flip(1)


def _resized(pixels: Pixels, scale: float) -> Pixels:
    if scale == 1:
        return pixels
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.stack([cv2.resize(image, (0, 0), fx=scale, fy=scale, interpolation=method) for image in pixels])


def cvnet_spec(depth: Depth, weights: str, weights_source: str, *, pooling: Pooling = "gem") -> ExtractorSpec:
    """Return the specification of an extractor with the paper's scales, for photographs of at most 1,024 pixels."""
    name = f"cvnet_r{depth}" if pooling == "gem" else f"superglobal_r{depth}"
    return ExtractorSpec(
        name=name,
        family=CvNetExtractor.FAMILY,
        preprocessing=Preprocessing(resize="longest_side", size=_INPUT_SIZE),
        features=(FeatureSpec(name=name, kind="global", dimension=_DIMENSION, max_tokens=1),),
        weights=weights,
        weights_source=weights_source,
        config={"depth": depth, "scales": list(_SCALES), "pooling": pooling},
    )
