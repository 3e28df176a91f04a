"""Global descriptors of cnnimageretrieval-pytorch: ResNet, GeM, whitening (Radenovic et al., TPAMI 2018).

RGB, ImageNet normalisation. The authors reduce photographs with Pillow's thumbnail, this project with its own
antialiased filter; the other steps are equal. Scales resize the normalised pixels bilinearly; their vectors are
averaged with an exponent. Whitening is either a layer of the network, applied at every scale, or was fitted afterwards
and is applied to the average: there are released checkpoints of both kinds.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.landmark_extractor import LandmarkExtractor, Pixels, on_device
from gallery_indexer.features.networks.layers import GeM, autocast, normalise
from gallery_indexer.features.networks.resnet import Depth, ResNet

_INPUT_SIZE = 1024
_SCALES = (1.0, 2**0.5, 0.5**0.5)


class GemNetwork(nn.Module):
    """Trunk, pooling and whitening."""

    def __init__(self, depth: Depth) -> None:
        super().__init__()
        self.trunk = ResNet(depth)
        self.pool = GeM()
        self.whiten = nn.Linear(self.trunk.out_channels, self.trunk.out_channels)

    def forward(self, pixels: Tensor, scales: tuple[float, ...], *, whiten_each_scale: bool) -> Tensor:
        """Describe normalised (B, 3, H, W) pixels: (B, C) float32, unit length."""
        # The mean over scales uses the pooling's exponent if only whitening follows.
        exponent = 1.0 if whiten_each_scale or len(scales) == 1 else float(self.pool.exponent)
        total = pixels.new_zeros(len(pixels), self.trunk.out_channels)
        for scale in scales:
            vector = F.normalize(self.pool(self.trunk(_scaled(pixels, scale))), dim=-1)
            if whiten_each_scale:
                vector = F.normalize(self.whiten(vector).float(), dim=-1)
            total += vector.pow(exponent)
        mean = F.normalize((total / len(scales)).pow(1 / exponent), dim=-1)
        return mean if whiten_each_scale else F.normalize(self.whiten(mean).float(), dim=-1)


def _scaled(pixels: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return pixels
    return F.interpolate(pixels, scale_factor=scale, mode="bilinear", align_corners=False)


class GemExtractor(LandmarkExtractor[GemNetwork]):
    """The frozen network as an extractor of one global feature.

    `config`: `depth`; `scales`; `whiten_each_scale`, whether whitening is a layer of the network; `precision`.
    """

    FAMILY: ClassVar[str] = "gem"

    def __init__(self, spec: ExtractorSpec, network: GemNetwork, device: torch.device) -> None:
        super().__init__(spec, network, device)
        self._scales = tuple(float(scale) for scale in spec.config["scales"])
        self._whiten_each_scale = bool(spec.config["whiten_each_scale"])

    @classmethod
    def _build(cls, spec: ExtractorSpec) -> GemNetwork:
        return GemNetwork(spec.config["depth"])

    def _features(self, pixels: Pixels) -> dict[str, FeatureBatch]:
        whole = normalise(on_device(pixels, self._device))
        with autocast(self._device, self.spec.config):
            vectors = self._network(whole, self._scales, whiten_each_scale=self._whiten_each_scale)
        return {self.spec.features[0].name: FeatureBatch.from_global(vectors)}


def gem_spec(depth: Depth, weights: str, weights_source: str, **config: Any) -> ExtractorSpec:
    """Return the specification of an extractor with the paper's size and scales; `config` overrides its config."""
    dimension = ResNet(depth).out_channels
    return ExtractorSpec(
        name=f"gem_r{depth}",
        family=GemExtractor.FAMILY,
        preprocessing=Preprocessing(resize="longest_side", size=_INPUT_SIZE),
        features=(FeatureSpec(name=f"gem_r{depth}", kind="global", dimension=dimension, max_tokens=1),),
        weights=weights,
        weights_source=weights_source,
        config={"depth": depth, "scales": list(_SCALES), "whiten_each_scale": True, **config},
    )
