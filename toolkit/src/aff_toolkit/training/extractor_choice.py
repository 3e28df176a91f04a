"""Extractors that somebody else trained, as a recipe names them: one table of the recipe each."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aff_contracts.bundle import ExtractorSpec
from aff_contracts.errors import AffError
from aff_contracts.schemas.payload_filter import describe_validation_error

_WEIGHTS = "extractors/{}.safetensors"


class ExtractorUnavailableError(AffError):
    """Weights of an extractor that a recipe names are not here."""

    code = "extractor_unavailable"
    status = 422
    title = "Extractor not available"


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


ExtractorChoice = Annotated[ConvertedChoice, Field(discriminator="kind")]
