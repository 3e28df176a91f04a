"""Starts a query encoder with weights that somebody else trained, as ImageNet's in the paper."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.models.bundled_query_encoder import bundle_of, is_bundled
from aff_toolkit.models.efficientnet_lite_weights import read_efficientnet_lite_weights
from aff_toolkit.models.lightweight_encoder import LightweightEncoder
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.models.shufflenet import ShuffleNetV2
from aff_toolkit.models.timm_trunk import TimmTrunk
from aff_toolkit.weights.hub_models import load_vision_model, model_folder
from aff_toolkit.weights.packaged_weights import find_packaged_weights, is_packaged
from aff_toolkit.weights.released_weights import load_released_weights, read_released_weights
from aff_toolkit.weights.timm_release import TIMM_WEIGHTS, read_timm_weights
from gallery_indexer.features.networks.efficientnet_lite import EfficientNetLite


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
