"""The training recipe: all settings that determine a bundle, read from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from aff_shared.errors import AffError
from aff_shared.schemas.payload_filter import describe_validation_error
from aff_toolkit.data import Settings
from aff_toolkit.data.training_source import TrainingSource
from aff_toolkit.export.export_gate import ExportSection
from aff_toolkit.models.extractor_choice import ExtractorChoice
from aff_toolkit.training.engine.trackers import TrackerName
from aff_toolkit.training.recipe_sections import (
    BaseSection,
    CompactCnnSection,
    EvaluationSection,
    JointSection,
    MixerSection,
    PretrainingSection,
    QueryEncoderSection,
    RootSiftSection,
)

_INSTALLED = Path(__file__).parents[1] / "configs"
_CONFIGS = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[3] / "configs"


class RecipeError(AffError):
    """The recipe cannot be read, or requests something that does not exist."""

    code, status, title = "recipe_invalid", 422, "Invalid training recipe"


class TrainingRecipe(Settings):
    """The settings of a training; the bundle's manifest contains `recipe.model_dump()`.

    `trackers` receive the figures of the training, and are in no manifest: they do not change the bundle.

    The gallery's extractors are those of `base`; or, in this order, released `extractors` and new ones, `compact_cnn`
    and `rootsift`.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    seed: int
    dimension: int = Field(ge=2)
    stored_size: int = Field(ge=16)
    base: BaseSection | None = None
    pretraining: PretrainingSection | None = None
    extractors: tuple[ExtractorChoice, ...] = ()
    compact_cnn: CompactCnnSection | None = None
    rootsift: RootSiftSection | None = None
    mixer: MixerSection
    query_encoder: QueryEncoderSection
    joint: JointSection
    evaluation: EvaluationSection = EvaluationSection()
    export: ExportSection = ExportSection()
    trackers: tuple[TrackerName, ...] = Field(default=("tensorboard",), exclude=True)

    @property
    def sources(self) -> tuple[TrainingSource, ...]:
        """Every source of every stage."""
        return (self.pretraining.sources if self.pretraining else ()) + self.joint.sources

    @model_validator(mode="after")
    def _stores_enough_pixels(self) -> TrainingRecipe:
        sizes = [section.train_size for section in (self.compact_cnn, self.query_encoder) if section is not None]
        if self.stored_size < max(sizes):
            raise ValueError("stored_size is smaller than a train_size")
        return self

    @model_validator(mode="after")
    def _has_one_source_of_extractors(self) -> TrainingRecipe:
        others = bool(self.extractors) or self.compact_cnn is not None or self.rootsift is not None
        if others == (self.base is not None):
            raise ValueError(
                "extractors are those of base, or extractors, compact_cnn and rootsift: set one of the two"
            )
        if self.rootsift is not None and any(choice.kind == "rootsift_vlad" for choice in self.extractors):
            raise ValueError("rootsift: rootsift_vlad returns these tokens too; set its local_tokens")
        return self

    @model_validator(mode="after")
    def _has_what_it_starts_from(self) -> TrainingRecipe:
        if self.joint.anchor_weight and self.mixer.anchor is None:
            raise ValueError("joint.anchor_weight: the mixer has no anchor; set mixer.anchor")
        anchored = self.query_encoder.pretrained is not None and self.mixer.anchor is not None
        continues = anchored or (self.base is not None and self.base.query_encoder != "new")
        if self.query_encoder.fine_tuning is not None and not continues:
            raise ValueError(
                "query_encoder.fine_tuning: the head has to be trained too; set query_encoder.pretrained and "
                "mixer.anchor, or base.query_encoder"
            )
        return self

    @model_validator(mode="after")
    def _has_a_head_to_fit(self) -> TrainingRecipe:
        fitting = self.joint.head_fitting
        if fitting is not None and "efficientnet-lite" not in self.query_encoder.backbone:
            raise ValueError("joint.head_fitting: only the last layer of efficientnet-lite0 can be fitted")
        if fitting is not None and fitting.rounds > 1 and (self.mixer.anchor is None or self.base is not None):
            raise ValueError("joint.head_fitting.rounds: rounds need an anchored mixer that starts from scratch")
        return self

    @model_validator(mode="after")
    def _has_a_similarity_bound(self) -> TrainingRecipe:
        grouping, frozen = self.joint.pseudo_instances, self.base is not None and self.base.mixer == "frozen"
        if grouping is not None and grouping.min_similarity is None and self.joint.copies == 1 and not frozen:
            detail = "without min_similarity the bound is measured on an augmented copy; set joint.copies to 2"
            raise ValueError(f"joint.pseudo_instances: {detail}")
        return self

    @model_validator(mode="after")
    def _pretrains_what_starts_from_scratch(self) -> TrainingRecipe:
        pretrains = self.compact_cnn is not None or self.query_encoder.optimisation is not None
        if pretrains and self.pretraining is None:
            raise ValueError("pretraining: required by compact_cnn and by query_encoder.optimisation")
        if self.base is not None and self.base.query_encoder == "start" and self.query_encoder.optimisation is not None:
            raise ValueError("query_encoder.optimisation: the query encoder of base is not pretrained again")
        return self


def load_recipe(path: Path) -> TrainingRecipe:
    """Read a recipe.

    Args:
        path: A file, or the name of one of this package's recipes, such as `photos`.

    Raises:
        RecipeError: The file does not exist or is not TOML, or a setting is unknown or out of range.
    """
    shipped = _CONFIGS / f"{path.name.removesuffix('.toml')}.toml"
    if len(path.parts) == 1 and not path.exists() and shipped.is_file():
        path = shipped
    try:
        return TrainingRecipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", item=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"is not TOML: {error}", item=str(path)) from error
    except ValidationError as error:
        raise RecipeError(describe_validation_error(error), item=str(path)) from error
