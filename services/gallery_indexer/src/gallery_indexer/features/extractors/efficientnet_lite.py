"""EfficientNet-Lite (Tan and Le, ICML 2019) as an extractor: GeM over several scales, and the strongest cells.

Photographs are resized on the device, from the pixels at the input size, bilinearly and antialiased. The unit vectors
of the scales are averaged, with weights if the specification has them.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator
from torch import Tensor

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.landmark_extractor import (
    LandmarkExtractor,
    Pixels,
    on_device,
    strongest_patches,
)
from gallery_indexer.features.networks.colour_histogram import BINS, ColourHistogram
from gallery_indexer.features.networks.efficientnet_lite import OUT_CHANNELS, EfficientNetLite, Variant
from gallery_indexer.features.networks.layers import GeM, autocast

_SMALLEST_SIDE = 32  # one cell of the last map


class EfficientNetLiteConfig(BaseModel):
    """The `config` of the specification.

    Attributes:
        variant: Variant of the network.
        scales: Factors of the sides of the photograph at its input size, down to 32 pixels. Local tokens are the cells
            of the first scale.
        scale_weights: Weights of the vectors of the scales; None for equal weights.
        gem_exponent: Exponent of the pooling.
        colour_weight: Factor of the photograph's colour histogram, which is appended to the averaged vectors in the
            global feature; 0 for no histogram.
        stored: Precision of the large convolutions in the weights file; they run in float32 in any case.
        precision: `bf16` runs the network in bfloat16 on a GPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: Variant
    scales: tuple[PositiveFloat, ...] = Field(default=(1.0,), min_length=1)
    scale_weights: tuple[PositiveFloat, ...] | None = None
    gem_exponent: PositiveFloat = 3.0
    colour_weight: float = Field(default=0.0, ge=0)
    stored: Literal["fp32", "fp16"] = "fp32"
    precision: Literal["fp32", "bf16"] = "fp32"

    @model_validator(mode="after")
    def _has_a_weight_for_each_scale(self) -> Self:
        if self.scale_weights is not None and len(self.scale_weights) != len(self.scales):
            raise ValueError(f"{len(self.scale_weights)} scale_weights for {len(self.scales)} scales")
        return self


class EfficientNetLiteExtractor(LandmarkExtractor[EfficientNetLite]):
    """The frozen network as an extractor of a global feature, a local one, or both; all of them unit vectors.

    The strength of a local token is the norm of its activation.
    """

    FAMILY: ClassVar[str] = "efficientnet_lite"
    FASTER_IN_ONNX_RUNTIME = True

    def __init__(self, spec: ExtractorSpec, network: EfficientNetLite, device: torch.device) -> None:
        super().__init__(spec, network, device)
        self._config = EfficientNetLiteConfig.model_validate(spec.config)
        self._global = next((feature for feature in spec.features if feature.kind == "global"), None)
        self._local = next((feature for feature in spec.features if feature.kind == "local"), None)
        self._colours = ColourHistogram().to(device)
        self._pool = GeM(self._config.gem_exponent).requires_grad_(requires_grad=False).to(device)

    @classmethod
    def _build(cls, spec: ExtractorSpec) -> EfficientNetLite:
        return EfficientNetLite(EfficientNetLiteConfig.model_validate(spec.config).variant)

    def _features(self, pixels: Pixels) -> dict[str, FeatureBatch]:
        whole = on_device(pixels, self._device).float()
        scales = self._config.scales if self._global is not None else self._config.scales[:1]
        with autocast(self._device, self.spec.config):
            maps = [self._network(_scaled(whole, scale)).float() for scale in scales]
        features = {}
        if self._global is not None:
            features[self._global.name] = FeatureBatch.from_global(self._with_colours(self._pooled(maps), whole))
        if self._local is not None:
            cells = maps[0].flatten(2).transpose(1, 2)
            grid = (maps[0].shape[2], maps[0].shape[3])
            tokens = strongest_patches(cells, cells.norm(dim=-1), grid, self._local.max_tokens)
            features[self._local.name] = tokens
        return features

    def _pooled(self, maps: list[Tensor]) -> Tensor:
        """Average the unit vectors of the scales: (B, 1280), unit length."""
        vectors = [F.normalize(self._pool(one), dim=-1) for one in maps]
        weights = self._config.scale_weights or (1.0,) * len(vectors)
        weighted = torch.stack([weight * vector for weight, vector in zip(weights, vectors, strict=True)])
        return F.normalize(weighted.sum(dim=0), dim=-1)

    def _with_colours(self, pooled: Tensor, pixels: Tensor) -> Tensor:
        weight = self._config.colour_weight
        return torch.cat([pooled, weight * self._colours(_scaled(pixels, 1.0))], dim=-1) if weight else pooled


def _scaled(pixels: Tensor, scale: float) -> Tensor:
    size = [max(_SMALLEST_SIDE, round(scale * side)) for side in pixels.shape[-2:]]
    if size == list(pixels.shape[-2:]):
        return pixels
    return F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)


def efficientnet_lite_spec(
    config: EfficientNetLiteConfig,
    preprocessing: Preprocessing,
    *,
    name: str,
    gives_global: bool,
    max_tokens: int,
    weights: str,
    weights_source: str,
) -> ExtractorSpec:
    """Return the specification of an extractor.

    Args:
        config: See EfficientNetLiteConfig.
        preprocessing: Preprocessing to the input size, which the scales refer to.
        name: Name of the extractor; its features are `<name>_gem` and `<name>_cells`.
        gives_global: Whether there is a global feature.
        max_tokens: Number of strongest cells in the local feature; 0 for no local feature.
        weights: Path of the weights in the bundle.
        weights_source: Origin of the weights.
    """
    features = []
    if gives_global:
        width = OUT_CHANNELS + (BINS if config.colour_weight else 0)
        features.append(FeatureSpec(name=f"{name}_gem", kind="global", dimension=width, max_tokens=1))
    if max_tokens:
        features.append(FeatureSpec(name=f"{name}_cells", kind="local", dimension=OUT_CHANNELS, max_tokens=max_tokens))
    return ExtractorSpec(
        name=name,
        family=EfficientNetLiteExtractor.FAMILY,
        preprocessing=preprocessing,
        features=tuple(features),
        weights=weights,
        weights_source=weights_source,
        config=config.model_dump(mode="json"),
    )
