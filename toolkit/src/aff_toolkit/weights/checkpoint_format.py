"""What is known about the checkpoints that the authors of a method released."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec


@dataclass(frozen=True, slots=True)
class CheckpointFormat:
    """How released weights become those of an extractor of this project.

    Attributes:
        name: What `aff checkpoints convert --as` takes: method and trunk, as `dolg-r101`.
        source: Who released such checkpoints, and where their code lies.
        network: Gives the network of this project that the weights go into.
        weights_of: Finds the named tensors in what the file holds.
        rename: Gives the name in this project's network of a weight of the file; None where an extractor has no use for
            it (a training's classifier, say).
        spec: Describes the extractor, given the path of its weights and where they come from.
    """

    name: str
    source: str
    network: Callable[[], nn.Module]
    weights_of: Callable[[Mapping[str, Any]], Mapping[str, Tensor]]
    rename: Callable[[str], str | None]
    spec: Callable[[str, str], ExtractorSpec]
