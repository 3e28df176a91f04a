"""Checkpoints of Token."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from aff_toolkit.weights.formats.checkpoint_format import CheckpointFormat
from aff_toolkit.weights.formats.torchvision_names import name_of_child
from gallery_indexer.features.extractors.token_aggregation import TokenNetwork, token_spec
from gallery_indexer.features.networks.resnet import Depth

_DEPTHS: tuple[Depth, ...] = (50, 101)
_FIRST_BLOCK_CHILDREN = 4
_CLASSIFIER = "classifier."


def _weights(document: Mapping[str, Any]) -> Mapping[str, Tensor]:
    state: Mapping[str, Tensor] = document.get("state_dict", document)
    return state


def _rename(name: str) -> str | None:
    if name.startswith(_CLASSIFIER):
        return None
    if not name.startswith("backbone.block"):
        return name.replace("tr.", "tokenizer.", 1)
    # The first block is the stem, a sequence of four; each other one is a stage.
    block, _, rest = name.removeprefix("backbone.block").partition(".")
    child = rest if block == "1" else f"{int(block) + _FIRST_BLOCK_CHILDREN - 2}.{rest}"
    return "trunk." + name_of_child(child, "")


TOKEN_FORMATS = tuple(
    CheckpointFormat(
        name=f"token-r{depth}",
        source="H. Wu, github.com/MCC-WH/Token",
        network=partial(TokenNetwork, depth),
        weights_of=_weights,
        rename=_rename,
        spec=partial(token_spec, depth),
    )
    for depth in _DEPTHS
)
