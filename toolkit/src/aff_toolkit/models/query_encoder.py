"""Query encoders in torch, as they are trained and exported: a light network, GeM, a linear whitening, L2."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import BundleManifest
from aff_toolkit.models.trunks import CHANNELS, LibraryTrunk, ShuffleNetV2, timm_trunk
from gallery_indexer.features.networks.colour_histogram import BINS, COLOUR_WEIGHT, ColourHistogram
from gallery_indexer.features.networks.efficientnet_lite import OUT_CHANNELS, EfficientNetLite, Variant
from gallery_indexer.features.networks.layers import GeM, normalise
from gallery_indexer.features.networks.resnet import ResidualNetwork

_MOMENTUM = 0.1
_HEAD = ", GeM, whitening"
_LIBRARY_NAME = re.compile(r"(?:timm|torchvision):[A-Za-z0-9_.]+")
_EFFICIENTNETS: dict[str, dict[str, Any]] = {
    "b0": {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280},
    "b3": {"width_coefficient": 1.2, "depth_coefficient": 1.4, "hidden_dim": 1536},
}


class QueryEncoder(nn.Module):
    """A light network with GeM pooling, a linear whitening layer and L2 (Wu et al., CVPR 2023)."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap a network that returns unit embeddings (B, D) of (B, 3, H, W) pixels from 0 to 255."""
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Embed (B, H, W, 3) RGB from 0 to 255, uint8 or float32: (B, D) float32, unit length."""
        embedding: Tensor = self.network(image.permute(0, 3, 1, 2))
        return embedding


class LightweightEncoder(nn.Module):
    """A trunk without its classifier, which returns activations (B, C, h, w) of normalised (B, 3, H, W) pixels.

    Attributes:
        colour_weight: See __init__.
        whitening: Linear layer from C to D, with a batch normalisation if there is one.
    """

    def __init__(
        self,
        trunk: nn.Module,
        channels: int,
        dimension: int,
        *,
        normalisation: Callable[[Tensor], Tensor] = normalise,
        normalises_embeddings: bool = True,
        colour_weight: float = 0.0,
    ) -> None:
        """Put the head on a trunk.

        Args:
            trunk: See the class.
            channels: C.
            dimension: D of the embedding.
            normalisation: Normalisation of the pixels for the trunk's weights; default: ImageNet's mean and deviation.
            normalises_embeddings: Whether a batch normalisation follows the whitening. Without it the whitening is one
                nn.Linear on pooled vectors of unit length, which can be set to a fitted whitening.
            colour_weight: Factor of the photograph's colour histogram, which is appended to the pooled activations; 0
                omits it.
        """
        super().__init__()
        _initialise(trunk)
        self.trunk = trunk
        self.pool = GeM()
        self.colours = ColourHistogram() if colour_weight else None
        linear = nn.Linear(channels + (BINS if colour_weight else 0), dimension)
        self.whitening = nn.Sequential(linear, nn.BatchNorm1d(dimension)) if normalises_embeddings else linear
        self._normalisation = normalisation
        self._pools_unit_vectors = not normalises_embeddings
        self.colour_weight = colour_weight

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed (B, 3, H, W) pixels from 0 to 255: (B, D), unit length."""
        return F.normalize(self.whitening(self.pooled(pixels)), dim=-1)

    def pooled(self, pixels: Tensor) -> Tensor:
        """Return the input of the whitening for (B, 3, H, W) pixels: (B, C), with the colours last if any."""
        pooled: Tensor = self.pool(self.trunk(self._normalisation(pixels)))
        if self._pools_unit_vectors:
            pooled = F.normalize(pooled, dim=-1)
        if self.colours is not None:
            pooled = torch.cat([pooled, self.colour_weight * self.colours(pixels)], dim=-1)
        return pooled


def _initialise(trunk: nn.Module) -> None:
    """Initialise a trunk's weights (He et al., ICCV 2015), and the momentum of its batch normalisations.

    transformers draws EfficientNet's scales around 0, so that activations and gradients vanish, and uses TensorFlow's
    decay as torch's momentum, so that the running statistics are those of the last batch.
    """
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            outputs = module.out_channels // module.groups
            nn.init.normal_(module.weight, std=(2 / (outputs * math.prod(module.kernel_size))) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = _MOMENTUM
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


class _MobileNetV2Trunk(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        activations: Tensor = self.model(pixel_values=pixels).last_hidden_state
        return activations


class _EfficientNetTrunk(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.embeddings, self.encoder = model.embeddings, model.encoder

    def forward(self, pixels: Tensor) -> Tensor:
        activations: Tensor = self.encoder(self.embeddings(pixels)).last_hidden_state
        return activations


def mobilenet_v2(multiplier: float, dimension: int) -> LightweightEncoder:
    """Return MobileNetV2 (Sandler et al., CVPR 2018) of that width."""
    from transformers import MobileNetV2Config, MobileNetV2Model  # noqa: PLC0415 - takes seconds

    config = MobileNetV2Config(depth_multiplier=multiplier)
    model = MobileNetV2Model(config, add_pooling_layer=False)
    channels = model.conv_1x1.convolution.out_channels
    # The released weights expect pixels from -1 to 1.
    to_unit = partial(normalise, mean=(0.5,) * 3, std=(0.5,) * 3)
    return LightweightEncoder(_MobileNetV2Trunk(model), channels, dimension, normalisation=to_unit)


def efficientnet(variant: str, dimension: int) -> LightweightEncoder:
    """Return EfficientNet (Tan and Le, ICML 2019), `b0` or `b3`."""
    from transformers import EfficientNetConfig, EfficientNetModel  # noqa: PLC0415 - takes seconds

    config = EfficientNetConfig(**_EFFICIENTNETS[variant])
    return LightweightEncoder(_EfficientNetTrunk(EfficientNetModel(config)), config.hidden_dim, dimension)


def efficientnet_lite(variant: Variant, dimension: int, *, colour_weight: float = 0.0) -> LightweightEncoder:
    """Return EfficientNet-Lite, whose whitening is one linear layer, so that it can start as a fitted one."""
    return LightweightEncoder(
        EfficientNetLite(variant),
        OUT_CHANNELS,
        dimension,
        normalisation=Tensor.float,
        normalises_embeddings=False,
        colour_weight=colour_weight,
    )


def timm_mobilenet(name: str, dimension: int) -> LightweightEncoder:
    """Return MobileNetV3 (Howard et al., ICCV 2019) or MobileNetV4 (Qin et al., ECCV 2024) by its name in timm.

    Raises:
        MissingExtraError: timm is not installed.
    """
    return LightweightEncoder(*timm_trunk(name), dimension)


@dataclass(frozen=True, slots=True)
class QueryBackbone:
    """A network of the query side: its description, and a function from the embedding's width D to a new network."""

    architecture: str
    build: Callable[[int], QueryEncoder]


def _light(name: str, network: Callable[[int], nn.Module]) -> QueryBackbone:
    return QueryBackbone(f"{name}{_HEAD}", lambda dimension: QueryEncoder(network(dimension)))


def library_network(name: str, dimension: int) -> LightweightEncoder:
    """Return a network of timm or torchvision: see LibraryTrunk, which raises the same errors."""
    trunk = LibraryTrunk(name)
    to_weights = partial(normalise, mean=trunk.mean, std=trunk.std)
    return LightweightEncoder(trunk, trunk.channels, dimension, normalisation=to_weights)


class _QueryBackbones(dict[str, QueryBackbone]):
    """Networks by name, and also every one of `timm:NAME` and `torchvision:NAME`, which are not listed."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and _LIBRARY_NAME.fullmatch(name) is not None)

    def __missing__(self, name: str) -> QueryBackbone:
        if name not in self:
            raise KeyError(name)
        return _light(name, partial(library_network, name))


_NAMED: dict[str, QueryBackbone] = {
    **{
        f"residual-{width}": _light(f"residual network of width {width}", partial(ResidualNetwork, width))
        for width in (8, 16, 32)
    },
    **{
        f"mobilenet-v2-{multiplier}": _light(f"MobileNetV2 x{multiplier}", partial(mobilenet_v2, multiplier))
        for multiplier in (0.5, 0.75, 1.0, 1.4)
    },
    "mobilenet-v3-small": _light("MobileNetV3 small", partial(timm_mobilenet, "mobilenetv3_small_100")),
    "mobilenet-v3-large": _light("MobileNetV3 large", partial(timm_mobilenet, "mobilenetv3_large_100")),
    "mobilenet-v4-small": _light("MobileNetV4-Conv-S", partial(timm_mobilenet, "mobilenetv4_conv_small")),
    "mobilenet-v4-medium": _light("MobileNetV4-Conv-M", partial(timm_mobilenet, "mobilenetv4_conv_medium")),
    "efficientnet-b0": _light("EfficientNet-B0", partial(efficientnet, "b0")),
    "efficientnet-b3": _light("EfficientNet-B3", partial(efficientnet, "b3")),
    "efficientnet-lite0": _light("EfficientNet-Lite0", partial(efficientnet_lite, "lite0")),
    "efficientnet-lite0-colour": _light(
        "EfficientNet-Lite0 beside a colour histogram", partial(efficientnet_lite, "lite0", colour_weight=COLOUR_WEIGHT)
    ),
    "shufflenet-v2-1.0": _light(
        "ShuffleNetV2 x1.0", lambda dimension: LightweightEncoder(ShuffleNetV2(), CHANNELS, dimension)
    ),
}
QUERY_BACKBONES: Mapping[str, QueryBackbone] = _QueryBackbones(_NAMED)


def query_backbone_of(manifest: BundleManifest) -> str | None:
    """Return the name of a bundle's query backbone; None if this release does not support it."""
    architecture = manifest.query_encoder.architecture
    library = architecture.removesuffix(_HEAD)
    if _LIBRARY_NAME.fullmatch(library):
        return library
    return next((name for name, known in QUERY_BACKBONES.items() if known.architecture == architecture), None)
