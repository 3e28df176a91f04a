"""Checkpoint formats on torchvision's ResNets: GeM, HOW, Token."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from aff_toolkit.errors import CheckpointKeysError
from aff_toolkit.weights.checkpoint_format import CheckpointFormat
from gallery_indexer.features.extractors.gem import GemNetwork, gem_spec
from gallery_indexer.features.extractors.how import HowDepth, HowNetwork, how_spec
from gallery_indexer.features.extractors.token_aggregation import TokenNetwork, token_spec
from gallery_indexer.features.networks.resnet import Depth

_CHILDREN = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
_GEM_DEPTHS: tuple[Depth, ...] = (50, 101, 152)
_GEM_SOURCE = "F. Radenovic, github.com/filipradenovic/cnnimageretrieval-pytorch"
_HOW_TRUNKS: dict[HowDepth, str] = {18: "R18", 50: "R50-, without the last stage"}
_TOKEN_DEPTHS: tuple[Depth, ...] = (50, 101)
_FIRST_BLOCK_CHILDREN = 4
_TOKEN_CLASSIFIER = "classifier."


def name_of_child(name: str, prefix: str) -> str:
    """Return torchvision's name of a weight: `layer1.0.conv1.weight` of `<prefix>4.0.conv1.weight`.

    Raises:
        CheckpointKeysError: The child does not exist.
    """
    number, _, rest = name.removeprefix(prefix).partition(".")
    if not number.isdigit() or int(number) >= len(_CHILDREN):
        raise CheckpointKeysError("is not a child of a ResNet", item=name)
    return f"{_CHILDREN[int(number)]}.{rest}"


def _gem_weights(document: Mapping[str, Any]) -> dict[str, Tensor]:
    state = dict(document["state_dict"])
    if "pool.p" in state:
        state["pool.p"] = state["pool.p"].reshape(())
    return state


def _weights_with_learned_whitening(document: Mapping[str, Any]) -> dict[str, Tensor]:
    """Convert the whitening that was learned afterwards, P (x - m), to the linear map P x - P m."""
    state = _gem_weights(document)
    whitenings = document.get("meta", {}).get("Lw")
    if not whitenings or any(name.startswith("whiten.") for name in state):
        raise CheckpointKeysError("contains no whitening that was learned after the network", item="meta.Lw")
    learned = whitenings[min(whitenings)]["ms"]
    projection, mean = (torch.as_tensor(learned[key], dtype=torch.float64) for key in ("P", "m"))
    state["whiten.weight"] = projection.float()
    state["whiten.bias"] = -(projection @ mean.reshape(-1)).float()
    return state


def _gem_name(name: str) -> str | None:
    if name.startswith("features."):
        return "trunk." + name_of_child(name, "features.")
    return "pool.exponent" if name == "pool.p" else name


GEM_FORMATS = tuple(
    CheckpointFormat(
        name=f"gem-r{depth}{suffix}",
        source=f"{_GEM_SOURCE}; {told}",
        network=partial(GemNetwork, depth),
        weights_of=weights_of,
        rename=_gem_name,
        spec=partial(gem_spec, depth, whiten_each_scale=inside),
    )
    for depth in _GEM_DEPTHS
    for suffix, told, weights_of, inside in (
        ("", "whitening inside the network (-w)", _gem_weights, True),
        ("-lw", "whitening learned afterwards (meta.Lw, multi-scale)", _weights_with_learned_whitening, False),
    )
)


def _how_weights(document: Mapping[str, Any]) -> Mapping[str, Tensor]:
    state: Mapping[str, Tensor] = document["state_dict"]
    return state


def _how_name(name: str) -> str | None:
    if name.startswith("features."):
        return "trunk." + name_of_child(name, "features.")
    return name.replace("whiten.", "dim_reduction.")  # as the authors' first release called it


HOW_FORMATS = tuple(
    CheckpointFormat(
        name=f"how-r{depth}",
        source=f"G. Tolias, T. Jenicek, github.com/gtolias/how; {told}",
        network=partial(HowNetwork, depth),
        weights_of=_how_weights,
        rename=_how_name,
        spec=partial(how_spec, depth),
    )
    for depth, told in _HOW_TRUNKS.items()
)


def _token_weights(document: Mapping[str, Any]) -> Mapping[str, Tensor]:
    state: Mapping[str, Tensor] = document.get("state_dict", document)
    return state


def _token_name(name: str) -> str | None:
    if name.startswith(_TOKEN_CLASSIFIER):
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
        weights_of=_token_weights,
        rename=_token_name,
        spec=partial(token_spec, depth),
    )
    for depth in _TOKEN_DEPTHS
)
