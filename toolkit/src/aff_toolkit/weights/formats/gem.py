"""Checkpoints of cnnimageretrieval-pytorch with a ResNet and GeM."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from aff_toolkit.errors import CheckpointKeysError
from aff_toolkit.weights.formats.checkpoint_format import CheckpointFormat
from aff_toolkit.weights.formats.torchvision_names import name_of_child
from gallery_indexer.features.extractors.gem import GemNetwork, gem_spec
from gallery_indexer.features.networks.resnet import Depth

_DEPTHS: tuple[Depth, ...] = (50, 101, 152)
_SOURCE = "F. Radenovic, github.com/filipradenovic/cnnimageretrieval-pytorch"


def _weights(document: Mapping[str, Any]) -> dict[str, Tensor]:
    state = dict(document["state_dict"])
    if "pool.p" in state:
        state["pool.p"] = state["pool.p"].reshape(())
    return state


def _weights_with_learned_whitening(document: Mapping[str, Any]) -> dict[str, Tensor]:
    """Write the whitening that was learned afterwards, P (x - m), as the linear map P x - P m."""
    state = _weights(document)
    whitenings = document.get("meta", {}).get("Lw")
    if not whitenings or any(name.startswith("whiten.") for name in state):
        raise CheckpointKeysError("holds no whitening that was learned after the network", item="meta.Lw")
    learned = whitenings[min(whitenings)]["ms"]
    projection, mean = (torch.as_tensor(learned[key], dtype=torch.float64) for key in ("P", "m"))
    state["whiten.weight"] = projection.float()
    state["whiten.bias"] = -(projection @ mean.reshape(-1)).float()
    return state


def _rename(name: str) -> str | None:
    if name.startswith("features."):
        return "trunk." + name_of_child(name, "features.")
    return "pool.exponent" if name == "pool.p" else name


GEM_FORMATS = tuple(
    CheckpointFormat(
        name=f"gem-r{depth}{suffix}",
        source=f"{_SOURCE}; {told}",
        network=partial(GemNetwork, depth),
        weights_of=weights_of,
        rename=_rename,
        spec=partial(gem_spec, depth, whiten_each_scale=inside),
    )
    for depth in _DEPTHS
    for suffix, told, weights_of, inside in (
        ("", "whitening inside the network (-w)", _weights, True),
        ("-lw", "whitening learned afterwards (meta.Lw, multi-scale)", _weights_with_learned_whitening, False),
    )
)
