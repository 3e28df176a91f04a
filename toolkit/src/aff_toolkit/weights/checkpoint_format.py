"""The format of released checkpoints of a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec


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
