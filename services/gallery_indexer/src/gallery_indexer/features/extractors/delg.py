"""DELG (Cao, Araujo, Sim, ECCV 2020) and DOLG (Yang et al., ICCV 2021), both from pycls: BGR, ImageNet normalisation.

DELG has global and local descriptors from one pass of one trunk. As in the released PyTorch port, from every scale the
cells with an attention above a threshold are selected; the threshold is halved until there are 1,000 cells or it is
low. The strongest cells of all scales remain. The authors also suppress boxes that overlap by more than 0.98, which
cannot occur with boxes of 291 pixels that are 16 pixels or a scale factor of 1.4 apart. Global vectors of the scales
are averaged.

DOLG has a global descriptor, which fuses local and global features by orthogonal projection, from five scales whose
unit vectors are averaged, as in its authors' PyTorch code.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.landmark_extractor import (
    LandmarkExtractor,
    Pixels,
    on_device,
    strongest_tokens,
)
from gallery_indexer.features.networks.layers import GeM, SpatialAttention, autocast, normalise, scaled
from gallery_indexer.features.networks.resnet import Depth, ResNet, stage_width

_INPUT_SIZE = 1024
_LOCAL_SCALES = (0.25, 0.3535, 0.5, 0.7071, 1.0, 1.4142, 2.0)
_GLOBAL_SCALES = (0.7071, 1.0, 1.4142)
_GLOBAL_DIMENSION, _LOCAL_DIMENSION = 512, 512
_TOKENS = 1000
_STRIDE = 16.0
_THRESHOLD, _LOW_THRESHOLD, _ENOUGH = 260.0, 0.1, 1000


class DelgNetwork(nn.Module):
    """Trunk, GeM and a linear layer; attention over the third stage."""

    def __init__(self, depth: Depth) -> None:
        super().__init__()
        self.trunk = ResNet(depth)
        self.pool = GeM()
        self.fc = nn.Linear(self.trunk.out_channels, _GLOBAL_DIMENSION)
        self.attention = SpatialAttention(stage_width(depth, 2), _LOCAL_DIMENSION)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Describe normalised BGR pixels (B, 3, H, W).

        Returns:
            Global (B, 512) and local descriptors (B, h * w, 512), both of unit length, and attention (B, h, w).
        """
        *_, third, fourth = self.trunk.stages(pixels)
        descriptors, weights = self.attention(third)
        whole = F.normalize(self.fc(self.pool(fourth)).float(), dim=-1)
        return whole, descriptors.flatten(2).transpose(1, 2), weights[:, 0]


class DelgExtractor(LandmarkExtractor[DelgNetwork]):
    """The frozen network as an extractor of a global and a local feature.

    `config`: `depth`; `global_scales`; `local_scales`; `precision`.
    """

    FAMILY: ClassVar[str] = "delg"

    def __init__(self, spec: ExtractorSpec, network: DelgNetwork, device: torch.device) -> None:
        super().__init__(spec, network, device)
        self._global, self._local = spec.features
        self._global_scales = tuple(float(scale) for scale in spec.config["global_scales"])
        self._local_scales = tuple(float(scale) for scale in spec.config["local_scales"])

    @classmethod
    def _build(cls, spec: ExtractorSpec) -> DelgNetwork:
        return DelgNetwork(spec.config["depth"])

    def _features(self, pixels: Pixels) -> dict[str, FeatureBatch]:
        whole = normalise(on_device(pixels, self._device)).flip(1)
        height, width = whole.shape[-2:]
        vectors, tokens = [], []
        for scale in sorted({*self._global_scales, *self._local_scales}):
            with autocast(self._device, self.spec.config):
                vector, descriptors, attention = self._network(scaled(whole, scale))
            if scale in self._global_scales:
                vectors.append(vector)
            if scale in self._local_scales:
                positions = _centres(attention, scale) / torch.tensor([width, height], device=attention.device)
                tokens.append((descriptors, _above_threshold(attention.flatten(1)), positions.clamp(0, 1)))
        values, strengths, centres = zip(*tokens, strict=True)
        merged = F.normalize(torch.stack(vectors).mean(dim=0), dim=-1)
        return {
            self._global.name: FeatureBatch.from_global(merged),
            self._local.name: strongest_tokens(
                torch.cat(values, dim=1), torch.cat(strengths, dim=1), torch.cat(centres), self._local.max_tokens
            ),
        }


def _centres(attention: Tensor, scale: float) -> Tensor:
    """Return the centres of the cells' boxes in pixels of the photograph, x then y: (h * w, 2)."""
    height, width = attention.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack([columns.flatten(), rows.flatten()], dim=1) * (_STRIDE / scale)).to(attention.device)


def _above_threshold(attention: Tensor) -> Tensor:
    """Return the (B, N) attention of a scale with 0 for cells below the threshold."""
    threshold = torch.full((len(attention), 1), _THRESHOLD, device=attention.device)
    while True:
        few = (attention > threshold).sum(dim=1, keepdim=True) < _ENOUGH
        lower = few & (threshold * 0.5 >= _LOW_THRESHOLD)
        if not lower.any():
            return torch.where(attention > threshold, attention, 0.0)
        threshold = torch.where(lower, threshold * 0.5, threshold)


def delg_spec(depth: Depth, weights: str, weights_source: str) -> ExtractorSpec:
    """Return the specification of an extractor with the authors' scales, for photographs of at most 1,024 pixels."""
    name = f"delg_r{depth}"
    return ExtractorSpec(
        name=name,
        family=DelgExtractor.FAMILY,
        preprocessing=Preprocessing(resize="longest_side", size=_INPUT_SIZE),
        features=(
            FeatureSpec(name=f"{name}_global", kind="global", dimension=_GLOBAL_DIMENSION, max_tokens=1),
            FeatureSpec(name=f"{name}_local", kind="local", dimension=_LOCAL_DIMENSION, max_tokens=_TOKENS),
        ),
        weights=weights,
        weights_source=weights_source,
        config={"depth": depth, "global_scales": list(_GLOBAL_SCALES), "local_scales": list(_LOCAL_SCALES)},
    )


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
    def _build(cls, spec: ExtractorSpec) -> DolgNetwork:
        return DolgNetwork(spec.config["depth"], multi_atrous=spec.config["multi_atrous"])

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
