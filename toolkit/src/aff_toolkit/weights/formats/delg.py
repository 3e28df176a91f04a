"""Checkpoints of DELG's PyTorch port."""

from __future__ import annotations

from functools import partial

from aff_toolkit.weights.formats.checkpoint_format import CheckpointFormat
from aff_toolkit.weights.formats.pycls_names import torchvision_name
from aff_toolkit.weights.formats.pycls_state import pycls_state
from gallery_indexer.features.extractors.delg import DelgNetwork, delg_spec
from gallery_indexer.features.networks.resnet import Depth

_DEPTHS: tuple[Depth, ...] = (50, 101)
_CLASSIFIERS = ("desc_cls.", "att_cls.")
_HEAD = {
    "globalmodel.head.pool.p": "pool.exponent",
    "globalmodel.head.fc.weight": "fc.weight",
    "globalmodel.head.fc.bias": "fc.bias",
}


def _rename(name: str) -> str | None:
    if name.startswith(_CLASSIFIERS):
        return None
    if name in _HEAD:
        return _HEAD[name]
    if name.startswith("globalmodel."):
        return "trunk." + torchvision_name(name.removeprefix("globalmodel."))
    return name.replace("localmodel.", "attention.")


DELG_FORMATS = tuple(
    CheckpointFormat(
        name=f"delg-r{depth}",
        source="M. Yang, github.com/feymanpriv/DELG",
        network=partial(DelgNetwork, depth),
        weights_of=pycls_state,
        rename=_rename,
        spec=partial(delg_spec, depth),
    )
    for depth in _DEPTHS
)
