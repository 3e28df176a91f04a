"""Checkpoints of DOLG."""

from __future__ import annotations

from functools import partial

from aff_toolkit.weights.formats.checkpoint_format import CheckpointFormat
from aff_toolkit.weights.formats.pycls_names import torchvision_name
from aff_toolkit.weights.formats.pycls_state import pycls_state
from gallery_indexer.features.extractors.dolg import DolgNetwork, dolg_spec
from gallery_indexer.features.networks.resnet import Depth

_DEPTHS: tuple[Depth, ...] = (50, 101)
_SOURCE = "M. Yang, github.com/feymanpriv/DOLG"
_CLASSIFIER = "desc_cls."


def _rename(name: str) -> str | None:
    if name.startswith(_CLASSIFIER):
        return None
    if name.startswith("globalmodel."):
        return "trunk." + torchvision_name(name.removeprefix("globalmodel."))
    return "pool.exponent" if name == "pool_g.p" else name.replace("localmodel.", "attention.")


DOLG_FORMATS = tuple(
    CheckpointFormat(
        name=f"dolg-r{depth}{suffix}",
        source=f"{_SOURCE}; {told}",
        network=partial(DolgNetwork, depth, multi_atrous=multi_atrous),
        weights_of=pycls_state,
        rename=_rename,
        spec=partial(dolg_spec, depth, multi_atrous=multi_atrous),
    )
    for depth in _DEPTHS
    for suffix, told, multi_atrous in (
        ("", "attention without multi-atrous branches", False),
        ("-ma", "attention with multi-atrous branches", True),
    )
)
