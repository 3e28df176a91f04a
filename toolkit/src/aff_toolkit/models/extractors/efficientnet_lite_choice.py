"""EfficientNet-Lite as a gallery extractor of a recipe."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.models.extractors.backbone_choice import WEIGHTS, Choice, Installation
from aff_toolkit.models.pretrained_weights import PretrainedWeights
from aff_toolkit.weights.released_weights import load_released_weights, save_tensors
from gallery_indexer.features.extractors.efficientnet_lite import EfficientNetLiteConfig, efficientnet_lite_spec
from gallery_indexer.features.networks.efficientnet_lite import EfficientNetLite


class EfficientNetLiteChoice(EfficientNetLiteConfig, Choice):
    """EfficientNet-Lite with a global feature, a local one, or both; see EfficientNetLiteConfig for further settings.

    Attributes:
        name: Name of the extractor in the bundle; its features are `<name>_gem` and `<name>_cells`.
        model: Weights: `package:NAME` (see PackagedWeights), a file, or `bundle:DIRECTORY` for those of a bundle's
            query encoder, with the exponent of its pooling.
        size: Longest side of the resized photographs in pixels, or both sides if `resize` is `stretch`.
        global_head: `none` disables the global feature.
        local_tokens: Maximum number of cells, the strongest ones; 0 disables the local feature.
    """

    kind: Literal["efficientnet_lite"]
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    model: str
    size: int = Field(ge=32)
    resize: Literal["longest_side", "stretch"] = "longest_side"
    global_head: Literal["gem", "none"] = "gem"
    local_tokens: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _has_a_feature(self) -> Self:
        if self.global_head == "none" and not self.local_tokens:
            raise ValueError("has no feature: set a global_head, or local_tokens")
        return self

    def install(self, place: Installation) -> ExtractorSpec:
        """Write the weights into the directory of a training, and return the extractor's specification.

        Raises:
            ExtractorUnavailableError: The weights are not available, or are of another network.
            UnreadableCheckpointError: The file of the weights is missing, damaged, or needs code to be read.
        """
        pretrained, network = PretrainedWeights(self.model), EfficientNetLite(self.variant)
        load_released_weights(network, pretrained.read_efficientnet_lite(), self.model)
        weights = WEIGHTS.format(self.name)
        save_tensors(network.state_dict(), place.directory / weights, self.stored)
        return efficientnet_lite_spec(
            self._config(pretrained),
            Preprocessing(resize=self.resize, size=self.size),
            name=self.name,
            gives_global=self.global_head == "gem",
            max_tokens=self.local_tokens,
            weights=weights,
            weights_source=pretrained.describe(),
        )

    def _config(self, pretrained: PretrainedWeights) -> EfficientNetLiteConfig:
        settings = self.model_dump(include=set(EfficientNetLiteConfig.model_fields))
        if pretrained.bundle_network is not None:
            settings["gem_exponent"] = pretrained.bundle_network.pool.exponent.item()
        return EfficientNetLiteConfig.model_validate(settings)
