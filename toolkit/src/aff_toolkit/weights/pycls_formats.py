"""Checkpoint formats of methods that are written in pycls: DELG, DOLG, CVNet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from aff_toolkit.weights.checkpoint_format import CheckpointFormat
from gallery_indexer.features.extractors.cvnet import CvNet, Pooling, cvnet_spec
from gallery_indexer.features.extractors.delg import DelgNetwork, delg_spec
from gallery_indexer.features.extractors.dolg import DolgNetwork, dolg_spec
from gallery_indexer.features.networks.resnet import Depth

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
