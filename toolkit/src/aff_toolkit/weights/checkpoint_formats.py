"""Formats of released checkpoints: methods written in pycls, and methods on torchvision's ResNets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec
from aff_toolkit.errors import CheckpointKeysError
from gallery_indexer.features.extractors.cvnet import CvNet, Pooling, cvnet_spec
from gallery_indexer.features.extractors.delg import DelgNetwork, DolgNetwork, delg_spec, dolg_spec
from gallery_indexer.features.extractors.gem import GemNetwork, gem_spec
from gallery_indexer.features.extractors.how import HowNetwork, how_spec
from gallery_indexer.features.extractors.token_aggregation import TokenNetwork, token_spec

# pycls' names of a ResNet's weights, and torchvision's.
_IN_ORDER = (
    (r"^stem\.conv\.", "conv1."),
    (r"^stem\.bn\.", "bn1."),
    (r"\bproj\.", "downsample.0."),
    (r"^(s\d\.b\d+)\.bn\.", r"\1.downsample.1."),
    (r"\bf\.a(_bn)?\.", lambda found: "bn1." if found[1] else "conv1."),
    (r"\bf\.b(_bn)?\.", lambda found: "bn2." if found[1] else "conv2."),
    (r"\bf\.c(_bn)?\.", lambda found: "bn3." if found[1] else "conv3."),
    (r"^s(\d)\.b(\d+)\.", lambda found: f"layer{found[1]}.{int(found[2]) - 1}."),
)
_HEAD = {"head.pool.p": "pool.exponent", "head.fc.weight": "fc.weight", "head.fc.bias": "fc.bias"}
# What re-ranks, and what only the training needs.
_CVNET_UNUSED = ("conv2ds.", "cv_learner.", "encoder_k.", "queue", "encoder_q.seb", "encoder_q.sefc")
_CHILDREN = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
_FIRST_BLOCK_CHILDREN = 4
_CVNET_POOLINGS: tuple[tuple[str, Pooling, str], ...] = (
    ("cvnet", "gem", "S. Lee, github.com/sungonce/CVNet"),
    (
        "superglobal",
        "superglobal",
        "CVNet's weights with the pooling of S. Shao, github.com/ShihaoShao-GH/SuperGlobal",
    ),
)


@dataclass(frozen=True, slots=True)
class CheckpointFormat:
    """Conversion of released weights to those of an extractor of this project.

    Attributes:
        name: Name for `aff checkpoints convert --as`: method and trunk, as in `dolg-r101`.
        source: Author of the checkpoints, and location of the code.
        network: Function that returns this project's network.
        weights_of: Function that returns the named tensors of a file's content.
        rename: Function from the name of a weight in the file to its name in this project's network; None for unused
            weights, such as a training's classifier.
        spec: Function that returns the extractor's specification, given the path and the source of its weights.
    """

    name: str
    source: str
    network: Callable[[], nn.Module]
    weights_of: Callable[[Mapping[str, Any]], Mapping[str, Tensor]]
    rename: Callable[[str], str | None]
    spec: Callable[[str, str], ExtractorSpec]


def _torchvision_name(pycls_name: str) -> str:
    """Return torchvision's name of a ResNet's weight, this project's too: layer1.0.conv1.weight of s1.b1.f.a.weight."""
    name = pycls_name
    for pattern, replacement in _IN_ORDER:
        name = re.sub(pattern, replacement, name)
    return name


def _name_of_child(name: str, prefix: str) -> str:
    """Return torchvision's name of a weight: `layer1.0.conv1.weight` of `<prefix>4.0.conv1.weight`.

    Raises:
        CheckpointKeysError: The child does not exist.
    """
    number, _, rest = name.removeprefix(prefix).partition(".")
    if not number.isdigit() or int(number) >= len(_CHILDREN):
        raise CheckpointKeysError("is not a child of a ResNet", item=name)
    return f"{_CHILDREN[int(number)]}.{rest}"


def _state(document: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of a checkpoint, or of a file that holds nothing else; pooling exponents become scalars."""
    state: Mapping[str, Tensor] = document.get("model_state", document.get("state_dict", document))
    exponents = {name: tensor.reshape(()) for name, tensor in state.items() if name.endswith(("pool.p", "pool_g.p"))}
    return {**state, **exponents}


def _state_with_learned_whitening(document: Mapping[str, Any]) -> dict[str, Tensor]:
    """Convert the whitening that was learned afterwards, P (x - m), to the linear map P x - P m."""
    state = _state(document)
    whitenings = document.get("meta", {}).get("Lw")
    if not whitenings or any(name.startswith("whiten.") for name in state):
        raise CheckpointKeysError("contains no whitening that was learned after the network", item="meta.Lw")
    learned = whitenings[min(whitenings)]["ms"]
    projection, mean = (torch.as_tensor(learned[key], dtype=torch.float64) for key in ("P", "m"))
    return state | {"whiten.weight": projection.float(), "whiten.bias": -(projection @ mean.reshape(-1)).float()}


def _delg_name(name: str) -> str | None:
    """Return the name of a weight of DELG or DOLG."""
    if name.startswith(("desc_cls.", "att_cls.")):
        return None
    own = name.removeprefix("globalmodel.")
    if own != name:
        return _HEAD.get(own) or f"trunk.{_torchvision_name(own)}"
    return "pool.exponent" if name == "pool_g.p" else name.replace("localmodel.", "attention.")


def _cvnet_name(name: str) -> str | None:
    own = name.removeprefix("encoder_q.")
    return None if name.startswith(_CVNET_UNUSED) else _HEAD.get(own) or f"trunk.{_torchvision_name(own)}"


def _token_name(name: str) -> str | None:
    if name.startswith("classifier."):
        return None
    if not name.startswith("backbone.block"):
        return name.replace("tr.", "tokenizer.", 1)
    # The first block is the stem, a sequence of four; each other one is a stage.
    block, _, rest = name.removeprefix("backbone.block").partition(".")
    child = rest if block == "1" else f"{int(block) + _FIRST_BLOCK_CHILDREN - 2}.{rest}"
    return "trunk." + _name_of_child(child, "")


def _features_name(name: str) -> str | None:
    """Return the name of a weight of GeM or HOW."""
    if name.startswith("features."):
        return "trunk." + _name_of_child(name, "features.")
    return "pool.exponent" if name == "pool.p" else name


def _how_name(name: str) -> str | None:
    own = _features_name(name)
    return own and own.replace("whiten.", "dim_reduction.")  # as the authors' first release called it


def _formats() -> Iterator[CheckpointFormat]:
    depth: Any  # mypy reads tuples of numbers as tuples of int
    network: Callable[[], nn.Module]
    spec: Callable[[str, str], ExtractorSpec]
    for depth in (50, 101):
        source, network = "M. Yang, github.com/feymanpriv/DELG", partial(DelgNetwork, depth)
        yield CheckpointFormat(f"delg-r{depth}", source, network, _state, _delg_name, partial(delg_spec, depth))
    for depth, (suffix, atrous) in product((50, 101), (("", False), ("-ma", True))):
        source = (
            f"M. Yang, github.com/feymanpriv/DOLG; attention {'with' if atrous else 'without'} multi-atrous branches"
        )
        network, spec = partial(DolgNetwork, depth, multi_atrous=atrous), partial(dolg_spec, depth, multi_atrous=atrous)
        yield CheckpointFormat(f"dolg-r{depth}{suffix}", source, network, _state, _delg_name, spec)
    for (name, pooling, source), depth in product(_CVNET_POOLINGS, (50, 101)):
        spec = partial(cvnet_spec, depth, pooling=pooling)
        yield CheckpointFormat(f"{name}-r{depth}", source, partial(CvNet, depth), _state, _cvnet_name, spec)
    for depth in (50, 101):
        source, network = "H. Wu, github.com/MCC-WH/Token", partial(TokenNetwork, depth)
        yield CheckpointFormat(f"token-r{depth}", source, network, _state, _token_name, partial(token_spec, depth))
    for depth, (suffix, told, weights_of, inside) in product((50, 101, 152), _GEM_WHITENINGS):
        source = f"F. Radenovic, github.com/filipradenovic/cnnimageretrieval-pytorch; {told}"
        network, spec = partial(GemNetwork, depth), partial(gem_spec, depth, whiten_each_scale=inside)
        yield CheckpointFormat(f"gem-r{depth}{suffix}", source, network, weights_of, _features_name, spec)
    for depth, told in ((18, "R18"), (50, "R50-, without the last stage")):
        source, network = f"G. Tolias, T. Jenicek, github.com/gtolias/how; {told}", partial(HowNetwork, depth)
        yield CheckpointFormat(f"how-r{depth}", source, network, _state, _how_name, partial(how_spec, depth))


_GEM_WHITENINGS = (
    ("", "whitening inside the network (-w)", _state, True),
    ("-lw", "whitening learned afterwards (meta.Lw, multi-scale)", _state_with_learned_whitening, False),
)
CHECKPOINT_FORMATS: Mapping[str, CheckpointFormat] = {one.name: one for one in _formats()}
