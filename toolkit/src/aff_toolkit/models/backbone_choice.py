"""Extractors of a recipe: backbones of the hub and of timm, and converted checkpoints."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, ValidationError, model_validator

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.payload_filter import describe_validation_error
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.data import Settings
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.weights.hub_models import (
    TimmRelease,
    architecture_of,
    load_vision_model,
    model_folder,
    normalisation_of,
    save_weights,
)
from gallery_indexer.features.extractors.hub_backbone import (
    GlobalHead,
    HubBackbone,
    HubBackboneConfig,
    LocalBy,
    feature_width,
)
from gallery_indexer.features.extractors.timm_backbone import (
    TimmBackbone,
    TimmBackboneConfig,
    build_timm_model,
    set_input_size,
)

WEIGHTS = "extractors/{}.safetensors"


@dataclass(frozen=True, slots=True)
class Installation:
    """Where and how an extractor of a recipe is installed.

    Attributes:
        directory: Directory of the training, which contains the weights.
        recipe: Name of the recipe.
        seed: Seed of all that is fitted.
        photographs: Function that returns the photographs for fitting.
    """

    directory: Path
    recipe: str
    seed: int
    photographs: Callable[[], Sequence[Photograph]]


class Choice(Settings, ABC):
    """Base of the extractors' tables in a recipe."""

    precision: Literal["fp32", "bf16"] = "fp32"

    @abstractmethod
    def install(self, place: Installation) -> ExtractorSpec:
        """Write the weights into the directory of a training, and return the extractor's specification.

        Raises:
            ExtractorUnavailableError: The weights are not available, are of another network, or do not support the
                recipe's settings.
            UnreadableCheckpointError: The file of the weights is missing, damaged, or needs code to be read.
            TooFewPhotographsError: A codebook is fitted, and there are fewer keypoints than centres, or no more
                photographs than dimensions.
            MissingExtraError: timm is needed, and is not installed, or cannot be loaded.
        """


class BackboneChoice(Choice):
    """A backbone with a global feature, a local feature, or both.

    Attributes:
        name: Name of the extractor in the bundle; its features are `<name>_<head>` and `<name>_patches`.
        model: ID on the Hugging Face hub, or a folder in its format.
        revision: Commit of the hub's repository, all 40 digits, which fixes the weights.
        size: Side to which photographs are resized, in pixels.
        global_head: See HubBackboneConfig; None disables the global feature.
        local_tokens: Maximum number of patches; 0 disables the local feature.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    model: str
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    size: int = Field(ge=16)
    global_head: GlobalHead | None = "cls"
    local_tokens: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _has_a_feature(self) -> Self:
        if self.global_head is None and not self.local_tokens:
            raise ValueError("has no feature: set a global_head, or local_tokens")
        return self

    @property
    def weights(self) -> str:
        """Path of the weights in the bundle."""
        return WEIGHTS.format(self.name)

    def spec(self, family: str, config: dict[str, Any], global_width: int, local_width: int) -> ExtractorSpec:
        """Return the specification of the extractor."""
        features = []
        if self.global_head is not None:
            name = f"{self.name}_{self.global_head}"
            features.append(FeatureSpec(name=name, kind="global", dimension=global_width, max_tokens=1))
        if self.local_tokens:
            name = f"{self.name}_patches"
            features.append(FeatureSpec(name=name, kind="local", dimension=local_width, max_tokens=self.local_tokens))
        return ExtractorSpec(
            name=self.name,
            family=family,
            preprocessing=Preprocessing(resize="stretch", size=self.size),
            features=tuple(features),
            weights=self.weights,
            weights_source=self.model if self.revision is None else f"{self.model}@{self.revision}",
            config=config,
        )


class TimmChoice(BackboneChoice):
    """A model of timm; `model` may also be a safetensors file.

    Attributes:
        architecture: Name of the model in timm, with its tag; only for files, since folders and the hub specify it.
    """

    kind: Literal["timm"]
    architecture: str | None = None

    def install(self, place: Installation) -> ExtractorSpec:
        """See Choice."""
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
            TimmBackbone(spec, model, torch.device("cpu")).extract([black])  # fails if the model lacks a feature
        except ValidationError as error:
            raise ExtractorUnavailableError(describe_validation_error(error), item=self.model) from error
        except (ValueError, TypeError) as error:
            raise ExtractorUnavailableError(str(error), item=self.model) from error
        save_weights(model, place.directory / self.weights)
        return spec

    def _spec(self, config: TimmBackboneConfig, model: Any) -> ExtractorSpec:
        width = model.head_hidden_size if self.global_head == "pooled" else model.num_features
        return self.spec(TimmBackbone.FAMILY, config.model_dump(mode="json"), width, model.num_features)


class ConvertedChoice(Choice):
    """A released checkpoint after `aff checkpoints convert`.

    Attributes:
        spec: Specification that the conversion wrote, in the folder of the weights.
        size: Longest side of the photographs in pixels; None uses the specification's.
        local_tokens: Maximum number of local descriptors, limited by the specification's.
        precision: Precision of the network on a GPU.
    """

    kind: Literal["converted"]
    spec: Path
    size: int | None = Field(default=None, ge=16)
    local_tokens: int | None = Field(default=None, ge=1)

    def install(self, place: Installation) -> ExtractorSpec:
        """See Choice."""
        try:
            spec = ExtractorSpec.model_validate_json(self.spec.read_bytes())
            weights = place.directory / WEIGHTS.format(spec.name)
            weights.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.spec.parent / str(spec.weights), weights)
        except OSError as error:
            form = self.spec.stem.replace("_", "-")
            detail = f"{error.strerror}. Create it with: aff checkpoints convert FILE {self.spec.parent} --as {form}"
            raise ExtractorUnavailableError(detail, item=str(error.filename or self.spec)) from error
        except ValidationError as error:
            raise ExtractorUnavailableError(describe_validation_error(error), item=str(self.spec)) from error
        size = spec.preprocessing.size if self.size is None else self.size
        return spec.model_copy(
            update={
                "weights": WEIGHTS.format(spec.name),
                "preprocessing": spec.preprocessing.model_copy(update={"size": size}),
                "features": tuple(self._kept(feature) for feature in spec.features),
                "config": {**spec.config, "precision": self.precision},
            }
        )

    def _kept(self, feature: FeatureSpec) -> FeatureSpec:
        if feature.kind == "global" or self.local_tokens is None:
            return feature
        return feature.model_copy(update={"max_tokens": min(feature.max_tokens, self.local_tokens)})


class HubChoice(BackboneChoice):
    """A model of the Hugging Face hub, in the format of transformers.

    Attributes:
        local_by: Criterion of the selection of patches.
    """

    kind: Literal["hub"]
    local_by: LocalBy = "norm"

    def install(self, place: Installation) -> ExtractorSpec:
        """See Choice."""
        folder = model_folder(self.model, self.revision)
        model = load_vision_model(folder)
        mean, std = normalisation_of(folder)
        try:
            config = HubBackboneConfig.model_validate(
                {
                    "model": architecture_of(model),
                    "mean": mean,
                    "std": std,
                    "global_head": self.global_head,
                    "local_by": self.local_by if self.local_tokens else None,
                    "precision": self.precision,
                }
            )
            width = feature_width(config.model)
            spec = self.spec(HubBackbone.FAMILY, config.model_dump(mode="json"), width, width)
            HubBackbone(spec, model, torch.device("cpu"))
        except ValueError as error:
            raise ExtractorUnavailableError(str(error), item=self.model) from error
        save_weights(model, place.directory / self.weights)
        return spec
