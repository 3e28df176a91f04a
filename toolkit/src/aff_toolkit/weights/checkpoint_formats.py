"""The format of released checkpoints of a method."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec
from aff_toolkit.errors import CheckpointKeysError
from gallery_indexer.features.extractors.cvnet import CvNet, Pooling, cvnet_spec
from gallery_indexer.features.extractors.delg import DelgNetwork, delg_spec
from gallery_indexer.features.extractors.dolg import DolgNetwork, dolg_spec
from gallery_indexer.features.extractors.gem import GemNetwork, gem_spec
from gallery_indexer.features.extractors.how import HowDepth, HowNetwork, how_spec
from gallery_indexer.features.extractors.token_aggregation import TokenNetwork, token_spec
from gallery_indexer.features.networks.resnet import Depth


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
_EXPONENTS = ("pool.p", "pool_g.p")
_DELG_CLASSIFIERS = ("desc_cls.", "att_cls.")
_DELG_HEAD = {
    "globalmodel.head.pool.p": "pool.exponent",
    "globalmodel.head.fc.weight": "fc.weight",
    "globalmodel.head.fc.bias": "fc.bias",
}
_DOLG_SOURCE = "M. Yang, github.com/feymanpriv/DOLG"
_DOLG_CLASSIFIER = "desc_cls."
_PYCLS_DEPTHS: tuple[Depth, ...] = (50, 101)
_POOLINGS: dict[str, tuple[Pooling, str]] = {
    "cvnet": ("gem", "S. Lee, github.com/sungonce/CVNet"),
    "superglobal": ("superglobal", "CVNet's weights with the pooling of S. Shao, github.com/ShihaoShao-GH/SuperGlobal"),
}
# What re-ranks, and what only the training needs.
_CVNET_UNUSED = ("conv2ds.", "cv_learner.", "encoder_k.", "queue", "encoder_q.seb", "encoder_q.sefc")
_CVNET_HEAD = {"head.pool.p": "pool.exponent", "head.fc.weight": "fc.weight", "head.fc.bias": "fc.bias"}


def torchvision_name(pycls_name: str) -> str:
    """Return torchvision's name of a ResNet's weight, this project's too: layer1.0.conv1.weight of s1.b1.f.a.weight."""
    name = pycls_name
    for pattern, replacement in _IN_ORDER:
        name = re.sub(pattern, replacement, name)
    return name


def _pycls_state(document: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of a checkpoint, or of a file that holds nothing else; pooling exponents become scalars."""
    state: Mapping[str, Tensor] = document.get("model_state", document)
    exponents = {name: tensor.reshape(()) for name, tensor in state.items() if name.endswith(_EXPONENTS)}
    return {**state, **exponents}


def _delg_name(name: str) -> str | None:
    if name.startswith(_DELG_CLASSIFIERS):
        return None
    if name in _DELG_HEAD:
        return _DELG_HEAD[name]
    if name.startswith("globalmodel."):
        return "trunk." + torchvision_name(name.removeprefix("globalmodel."))
    return name.replace("localmodel.", "attention.")


DELG_FORMATS = tuple(
    CheckpointFormat(
        name=f"delg-r{depth}",
        source="M. Yang, github.com/feymanpriv/DELG",
        network=partial(DelgNetwork, depth),
        weights_of=_pycls_state,
        rename=_delg_name,
        spec=partial(delg_spec, depth),
    )
    for depth in _PYCLS_DEPTHS
)


def _dolg_name(name: str) -> str | None:
    if name.startswith(_DOLG_CLASSIFIER):
        return None
    if name.startswith("globalmodel."):
        return "trunk." + torchvision_name(name.removeprefix("globalmodel."))
    return "pool.exponent" if name == "pool_g.p" else name.replace("localmodel.", "attention.")


DOLG_FORMATS = tuple(
    CheckpointFormat(
        name=f"dolg-r{depth}{suffix}",
        source=f"{_DOLG_SOURCE}; {told}",
        network=partial(DolgNetwork, depth, multi_atrous=multi_atrous),
        weights_of=_pycls_state,
        rename=_dolg_name,
        spec=partial(dolg_spec, depth, multi_atrous=multi_atrous),
    )
    for depth in _PYCLS_DEPTHS
    for suffix, told, multi_atrous in (
        ("", "attention without multi-atrous branches", False),
        ("-ma", "attention with multi-atrous branches", True),
    )
)


def _cvnet_name(name: str) -> str | None:
    if name.startswith(_CVNET_UNUSED):
        return None
    own = name.removeprefix("encoder_q.")
    return _CVNET_HEAD.get(own) or f"trunk.{torchvision_name(own)}"


CVNET_FORMATS = tuple(
    CheckpointFormat(
        name=f"{name}-r{depth}",
        source=source,
        network=partial(CvNet, depth),
        weights_of=_pycls_state,
        rename=_cvnet_name,
        spec=partial(cvnet_spec, depth, pooling=pooling),
    )
    for name, (pooling, source) in _POOLINGS.items()
    for depth in _PYCLS_DEPTHS
)


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
