"""Checkpoints of HOW."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from aff_toolkit.weights.formats.checkpoint_format import CheckpointFormat
from aff_toolkit.weights.formats.torchvision_names import name_of_child
from gallery_indexer.features.extractors.how import HowDepth, HowNetwork, how_spec

_TRUNKS: dict[HowDepth, str] = {18: "R18", 50: "R50-, without the last stage"}


def _weights(document: Mapping[str, Any]) -> Mapping[str, Tensor]:
    state: Mapping[str, Tensor] = document["state_dict"]
    return state


def _rename(name: str) -> str | None:
    if name.startswith("features."):
        return "trunk." + name_of_child(name, "features.")
    return name.replace("whiten.", "dim_reduction.")  # as the authors' first release called it


HOW_FORMATS = tuple(
    CheckpointFormat(
        name=f"how-r{depth}",
        source=f"G. Tolias, T. Jenicek, github.com/gtolias/how; {told}",
        network=partial(HowNetwork, depth),
        weights_of=_weights,
        rename=_rename,
        spec=partial(how_spec, depth),
    )
    for depth, told in _TRUNKS.items()
)
