"""Released weights of EfficientNet-Lite, by the names that this project's network has for them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from aff_toolkit.models.bundled_query_encoder import is_bundled, read_bundled_network
from aff_toolkit.weights.formats.efficientnet_lite_names import efficientnet_lite_name
from aff_toolkit.weights.released_weights import read_released_weights

_OWN = "conv_stem.weight"


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
