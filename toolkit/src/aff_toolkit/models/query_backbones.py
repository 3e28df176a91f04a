"""The available networks of query encoders: a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from aff_shared.bundles.bundle import BundleManifest
from aff_toolkit.models.query_encoder import (
    LightweightEncoder,
    QueryEncoder,
    efficientnet,
    efficientnet_lite,
    mobilenet_v2,
    residual_query_encoder,
    shufflenet_v2,
    timm_mobilenet,
)
from gallery_indexer.features.networks.colour_histogram import COLOUR_WEIGHT


@dataclass(frozen=True, slots=True)
class QueryBackbone:
    """A network of the query side.

    Attributes:
        architecture: Description of the network.
        build: Function that returns the network with random weights, given the width D of the embedding. Raises
            MissingExtraError if a package is not installed.
    """

    architecture: str
    build: Callable[[int], QueryEncoder]


def _residual(width: int) -> QueryBackbone:
    return QueryBackbone(f"residual network of width {width}, GeM, whitening", partial(residual_query_encoder, width))


def _light(name: str, network: Callable[[int], LightweightEncoder]) -> QueryBackbone:
    return QueryBackbone(f"{name}, GeM, whitening", lambda dimension: QueryEncoder(network(dimension)))


QUERY_BACKBONES: Mapping[str, QueryBackbone] = {
    "residual-8": _residual(8),
    "residual-16": _residual(16),
    "residual-32": _residual(32),
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
    "shufflenet-v2-1.0": _light("ShuffleNetV2 x1.0", shufflenet_v2),
}


def query_backbone_of(manifest: BundleManifest) -> str | None:
    """Return the name of a bundle's query backbone; None if this release does not support it."""
    architecture = manifest.query_encoder.architecture
    return next((name for name, known in QUERY_BACKBONES.items() if known.architecture == architecture), None)
