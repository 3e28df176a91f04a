"""Global descriptors of DOLG (Yang et al., ICCV 2021), which fuses local and global features by orthogonal projection.

As in the released PyTorch code: pycls, BGR, ImageNet normalisation, five scales whose unit vectors are averaged.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from safetensors.torch import load_model
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.shape_batches import LandmarkExtractor, Pixels, on_device
from gallery_indexer.features.networks.frozen import autocast
from gallery_indexer.features.networks.layers import GeM, normalise, scaled
from gallery_indexer.features.networks.resnet import Depth, ResNet, stage_width
from gallery_indexer.features.networks.spatial_attention import SpatialAttention

_INPUT_SIZE = 1024
_SCALES = (0.3535, 0.5, 0.7071, 1.0, 1.4142)
_DIMENSION = 512


class DolgNetwork(nn.Module):
    """Trunk, attention over its third stage, and the fusion."""

    def __init__(self, depth: Depth, *, multi_atrous: bool) -> None:
        super().__init__()
        local_width = stage_width(depth, 2)
        self.trunk = ResNet(depth)
        self.attention = SpatialAttention(local_width, local_width, multi_atrous=multi_atrous)
        self.pool = GeM()
        self.fc_t = nn.Linear(self.trunk.out_channels, local_width)
        self.fc = nn.Linear(2 * local_width, _DIMENSION)

    def forward(self, pixels: Tensor) -> Tensor:
        """Describe normalised BGR pixels (B, 3, H, W): (B, 512) float32, unit length."""
        *_, third, fourth = self.trunk.stages(pixels)
        descriptors, weights = self.attention(third)
        local = (descriptors * weights).flatten(2)
        whole = self.fc_t(self.pool(fourth)).float()
        # The component along the global feature is subtracted from each cell, and the cells averaged (eq. 4 and 5).
        along = (whole[:, None] @ local) / whole.square().sum(dim=1)[:, None, None]
        orthogonal = local - whole[:, :, None] * along
        fused = torch.cat([whole, orthogonal.mean(dim=2)], dim=1)
        return F.normalize(self.fc(fused).float(), dim=-1)


class DolgExtractor(LandmarkExtractor[DolgNetwork]):
    """The frozen network as an extractor of one global feature.

    `config`: `depth`; `multi_atrous`, whether the attention has branches of several dilations; `scales`; `precision`.
    """

    FAMILY: ClassVar[str] = "dolg"

    def __init__(self, spec: ExtractorSpec, network: DolgNetwork, device: torch.device) -> None:
        super().__init__(spec, network, device)
        self._scales = tuple(float(scale) for scale in spec.config["scales"])

    @classmethod
    def load(cls, spec: ExtractorSpec, weights: Path, device: torch.device) -> DolgExtractor:
        """Build the network that the specification describes, and load its weights."""
        network = DolgNetwork(spec.config["depth"], multi_atrous=spec.config["multi_atrous"])
        load_model(network, weights)
        return cls(spec, network, device)

    def _features(self, pixels: Pixels) -> dict[str, FeatureBatch]:
        whole = normalise(on_device(pixels, self._device)).flip(1)
        with autocast(self._device, self.spec.config):
            vectors = torch.stack([self._network(scaled(whole, scale)) for scale in self._scales])
        return {self.spec.features[0].name: FeatureBatch.from_global(F.normalize(vectors.mean(dim=0), dim=-1))}


def dolg_spec(depth: Depth, weights: str, weights_source: str, *, multi_atrous: bool = False) -> ExtractorSpec:
    """Return the specification of an extractor with the authors' scales, for photographs of at most 1,024 pixels."""
    return ExtractorSpec(
        name=f"dolg_r{depth}",
        family=DolgExtractor.FAMILY,
        preprocessing=Preprocessing(resize="longest_side", size=_INPUT_SIZE),
        features=(FeatureSpec(name=f"dolg_r{depth}", kind="global", dimension=_DIMENSION, max_tokens=1),),
        weights=weights,
        weights_source=weights_source,
        config={"depth": depth, "multi_atrous": multi_atrous, "scales": list(_SCALES)},
    )
