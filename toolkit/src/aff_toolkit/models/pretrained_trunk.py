"""Starts a query encoder with weights that somebody else trained, as ImageNet's in the paper."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.models.base_bundle import bundle_of, is_bundled, read_bundled_network
from aff_toolkit.models.query_encoder import LightweightEncoder, QueryEncoder
from aff_toolkit.models.trunks import ShuffleNetV2, TimmTrunk
from aff_toolkit.weights.hub_models import TIMM_WEIGHTS, load_vision_model, model_folder, read_timm_weights
from aff_toolkit.weights.released_weights import (
    find_packaged_weights,
    is_packaged,
    load_released_weights,
    read_released_weights,
)
from gallery_indexer.features.networks.efficientnet_lite import EfficientNetLite

_OWN = "conv_stem.weight"
_CLASSIFIER = "_fc."
_OF_THE_NETWORK = {"_conv_stem": "conv_stem", "_bn0": "bn_stem", "_conv_head": "conv_head", "_bn1": "bn_head"}
_OF_A_BLOCK = {
    "_expand_conv": "conv_expand",
    "_bn0": "bn_expand",
    "_depthwise_conv": "conv_depthwise",
    "_bn1": "bn_depthwise",
    "_project_conv": "conv_project",
    "_bn2": "bn_project",
}


def require_pretrained(source: str | None) -> None:
    """Look for a package or bundle of weights before the features are extracted, which takes hours.

    Raises:
        BundleError: The bundle is missing, altered, or of a newer format.
        ExtractorUnavailableError: It is not installed, or not the known one; names the command that mends it.
    """
    if source is not None and is_packaged(source):
        find_packaged_weights(source)
    elif source is not None and is_bundled(source):
        bundle_of(source)


def load_pretrained_trunk(encoder: QueryEncoder, source: str, revision: str | None) -> None:
    """Load weights that others released into an encoder's trunk; the head stays as it is, their classifier out.

    Args:
        encoder: Set in place.
        source: See `pretrained` of QueryEncoderSection; of EfficientNet-Lite a package that carries them
            (`package:NAME`, see packaged_weights), or the file of one.
        revision: Commit of the hub's repository.

    Raises:
        ExtractorUnavailableError: They are not here, or are another network's; lists the weights that do not fit.
        UnreadableCheckpointError: The file is missing, damaged, no checkpoint, or needs code to be read.
    """
    network = encoder.network
    if not isinstance(network, LightweightEncoder):
        raise ExtractorUnavailableError("this query backbone has no pretrained weights on the hub", item=source)
    found = _released_weights(network.trunk, source, revision)
    names = {name: name.removeprefix("model.") for name in network.trunk.state_dict()}
    known = {name: found[released] for name, released in names.items() if released in found}
    load_released_weights(network.trunk, known, source)


def _released_weights(trunk: nn.Module, source: str, revision: str | None) -> Mapping[str, Tensor]:
    if isinstance(trunk, EfficientNetLite):
        return read_efficientnet_lite_weights(source)
    if is_packaged(source) or isinstance(trunk, ShuffleNetV2):
        return read_released_weights(source)
    folder = model_folder(source, revision)
    if not isinstance(trunk, TimmTrunk):
        return load_vision_model(folder).state_dict()
    return read_timm_weights(folder / TIMM_WEIGHTS)


def read_efficientnet_lite_weights(source: str) -> Mapping[str, Tensor]:
    """Read weights of EfficientNetLite, with the names of its PyTorch port or with its own.

    Args:
        source: See read_released_weights; or `bundle:DIRECTORY`, the trunk of a bundle's query encoder.

    Raises:
        BundleError: The bundle is missing, altered, or of a newer format.
        ExtractorUnavailableError: The package is not here, or not the known one.
        UnreadableCheckpointError: The file is missing, damaged, no checkpoint, or needs code to be read.
    """
    if is_bundled(source):
        return read_bundled_network(source).trunk.state_dict()
    found = read_released_weights(source)
    if _OWN in found:
        return found
    return {own: tensor for name, tensor in found.items() if (own := efficientnet_lite_name(name)) is not None}


def efficientnet_lite_name(name: str) -> str | None:
    """Return the name that EfficientNetLite has for a weight of the port; None for its classifier's and unknown ones.

    Args:
        name: As `_blocks.3._bn0.running_mean`.
    """
    if name.startswith(_CLASSIFIER):
        return None
    *block, layer, weight = name.split(".")
    own = (_OF_A_BLOCK if block else _OF_THE_NETWORK).get(layer)
    if own is None:
        return None
    return ".".join(["blocks", *block[1:], own, weight]) if block else f"{own}.{weight}"
