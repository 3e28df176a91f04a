"""Checkpoints of CVNet, for its own pooling or SuperGlobal's."""

from __future__ import annotations

from functools import partial

from aff_toolkit.weights.formats.checkpoint_format import CheckpointFormat
from aff_toolkit.weights.formats.pycls_names import torchvision_name
from aff_toolkit.weights.formats.pycls_state import pycls_state
from gallery_indexer.features.extractors.cvnet import CvNet, Pooling, cvnet_spec
from gallery_indexer.features.networks.resnet import Depth

_DEPTHS: tuple[Depth, ...] = (50, 101)
_POOLINGS: dict[str, tuple[Pooling, str]] = {
    "cvnet": ("gem", "S. Lee, github.com/sungonce/CVNet"),
    "superglobal": ("superglobal", "CVNet's weights with the pooling of S. Shao, github.com/ShihaoShao-GH/SuperGlobal"),
}
# What re-ranks, and what only the training needs.
_UNUSED = ("conv2ds.", "cv_learner.", "encoder_k.", "queue", "encoder_q.seb", "encoder_q.sefc")
_HEAD = {"head.pool.p": "pool.exponent", "head.fc.weight": "fc.weight", "head.fc.bias": "fc.bias"}


def _rename(name: str) -> str | None:
    if name.startswith(_UNUSED):
        return None
    own = name.removeprefix("encoder_q.")
    return _HEAD.get(own) or f"trunk.{torchvision_name(own)}"


CVNET_FORMATS = tuple(
    CheckpointFormat(
        name=f"{name}-r{depth}",
        source=source,
        network=partial(CvNet, depth),
        weights_of=pycls_state,
        rename=_rename,
        spec=partial(cvnet_spec, depth, pooling=pooling),
    )
    for name, (pooling, source) in _POOLINGS.items()
    for depth in _DEPTHS
)
