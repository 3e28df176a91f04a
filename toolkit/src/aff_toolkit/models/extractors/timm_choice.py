"""Models of timm, as a recipe names them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from pydantic import ValidationError

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.schemas.payload_filter import describe_validation_error
from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.models.extractors.backbone_choice import BackboneChoice, Installation
from aff_toolkit.weights.hub_models import save_weights
from aff_toolkit.weights.timm_release import TimmRelease
from gallery_indexer.features.extractors.timm_backbone import (
    TimmBackbone,
    TimmBackboneConfig,
    build_timm_model,
    set_input_size,
)


class TimmChoice(BackboneChoice):
    """A model of timm; `model` may also be a safetensors file.

    Attributes:
        architecture: The model's name in timm, with its tag; of a file alone, for the others say it themselves.
    """

    kind: Literal["timm"]
    architecture: str | None = None

    def install(self, place: Installation) -> ExtractorSpec:
        """Write the weights into the directory of a training, and describe the extractor there.

        Raises:
            ExtractorUnavailableError: The model is not here, or cannot be used as the recipe says.
            MissingExtraError: timm is not installed, or cannot be loaded.
        """
        release = TimmRelease.find(self.model, self.revision, self.architecture)
        try:
            config = TimmBackboneConfig.model_validate(
                {**release.architecture, "global_head": self.global_head, "precision": self.precision}
            )
            model = build_timm_model(config)
            release.load_weights(model)
            set_input_size(model, config, self.size)
            spec = self._spec(config, model)
            black = np.zeros((self.size, self.size, 3), np.uint8)
            TimmBackbone(spec, model, torch.device("cpu")).extract([black])  # tells what the model does not have
        except ValidationError as error:
            raise ExtractorUnavailableError(describe_validation_error(error), item=self.model) from error
        except (ValueError, TypeError) as error:
            raise ExtractorUnavailableError(str(error), item=self.model) from error
        save_weights(model, place.directory / self.weights)
        return spec

    def _spec(self, config: TimmBackboneConfig, model: Any) -> ExtractorSpec:
        width = model.head_hidden_size if self.global_head == "pooled" else model.num_features
        return self.spec(TimmBackbone.FAMILY, config.model_dump(mode="json"), width, model.num_features)
