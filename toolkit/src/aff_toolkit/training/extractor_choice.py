"""Extractors that somebody else trained, as a recipe names them: one table of the recipe each."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aff_contracts.bundle import ExtractorSpec, FeatureSpec
from aff_contracts.preprocessing import Preprocessing
from aff_contracts.schemas.payload_filter import describe_validation_error
from aff_toolkit.training.extractor_errors import ExtractorUnavailableError
from aff_toolkit.training.hub_models import (
    architecture_of,
    load_vision_model,
    model_folder,
    normalisation_of,
    save_weights,
)
from gallery_indexer.extractors.hub_backbone import GlobalHead, HubBackbone, HubBackboneConfig, LocalBy, feature_width

_WEIGHTS = "extractors/{}.safetensors"


class _Choice(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Literal["fp32", "bf16"] = "fp32"

    def _finish(self, spec: ExtractorSpec, name: str, size: int | None) -> ExtractorSpec:
        preprocessing = spec.preprocessing if size is None else spec.preprocessing.model_copy(update={"size": size})
        return spec.model_copy(
            update={
                "weights": _WEIGHTS.format(name),
                "preprocessing": preprocessing,
                "config": {**spec.config, "precision": self.precision},
            }
        )


class ConvertedChoice(_Choice):
    """A released checkpoint after `aff checkpoints convert`.

    Attributes:
        spec: The specification that the conversion wrote; the weights lie beside it.
        size: Pixels of the longest side of the photographs; the specification's own when None.
        precision: Of the network on a card.
    """

    kind: Literal["converted"]
    spec: Path
    size: int | None = Field(default=None, ge=16)

    def install(self, directory: Path) -> ExtractorSpec:
        """Copy the weights into the directory of a training, and describe the extractor there.

        Raises:
            ExtractorUnavailableError: Specification or weights are missing or cannot be read; says how to make them.
        """
        try:
            spec = ExtractorSpec.model_validate_json(self.spec.read_bytes())
            weights = directory / _WEIGHTS.format(spec.name)
            weights.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.spec.parent / str(spec.weights), weights)
        except OSError as error:
            form = self.spec.stem.replace("_", "-")
            detail = f"{error.strerror}. Make it with: aff checkpoints convert FILE {self.spec.parent} --as {form}"
            raise ExtractorUnavailableError(detail, item=str(error.filename or self.spec)) from error
        except ValidationError as error:
            raise ExtractorUnavailableError(describe_validation_error(error), item=str(self.spec)) from error
        return self._finish(spec, spec.name, self.size)


class HubChoice(_Choice):
    """A model of the Hugging Face hub.

    Attributes:
        name: Of the extractor in the bundle; its features are `<name>_<head>` and `<name>_patches`.
        model: Id on the hub, or a folder in its format.
        revision: Commit of the hub's repository, all 40 digits, so that everybody gets the same weights.
        size: Pixels of a side that photographs are stretched to.
        global_head: See HubBackboneConfig; none when None.
        local_tokens: Patches that are kept; none when 0.
        local_by: By which they are chosen.
    """

    kind: Literal["hub"]
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    model: str
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    size: int = Field(ge=16)
    global_head: GlobalHead | None = "cls"
    local_tokens: int = Field(default=0, ge=0)
    local_by: LocalBy = "norm"

    @model_validator(mode="after")
    def _gives_something(self) -> HubChoice:
        if self.global_head is None and not self.local_tokens:
            raise ValueError("gives nothing: name a global_head, or local_tokens")
        return self

    def install(self, directory: Path) -> ExtractorSpec:
        """Write the weights into the directory of a training, and describe the extractor there.

        Raises:
            ExtractorUnavailableError: The model is not here, or cannot be used as the recipe says.
        """
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
            spec = self._spec(config)
            HubBackbone(spec, model, torch.device("cpu"))
        except ValueError as error:
            raise ExtractorUnavailableError(str(error), item=self.model) from error
        save_weights(model, directory / _WEIGHTS.format(self.name))
        return spec

    def _spec(self, config: HubBackboneConfig) -> ExtractorSpec:
        width = feature_width(config.model)
        features = []
        if config.global_head is not None:
            name = f"{self.name}_{config.global_head}"
            features.append(FeatureSpec(name=name, kind="global", dimension=width, max_tokens=1))
        if config.local_by is not None:
            name = f"{self.name}_patches"
            features.append(FeatureSpec(name=name, kind="local", dimension=width, max_tokens=self.local_tokens))
        return ExtractorSpec(
            name=self.name,
            family=HubBackbone.FAMILY,
            preprocessing=Preprocessing(resize="stretch", size=self.size),
            features=tuple(features),
            weights=_WEIGHTS.format(self.name),
            weights_source=self.model if self.revision is None else f"{self.model}@{self.revision}",
            config=config.model_dump(mode="json"),
        )


ExtractorChoice = Annotated[ConvertedChoice | HubChoice, Field(discriminator="kind")]
