"""The training recipe: everything that decides what a bundle becomes, read from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aff_contracts.bundle import MixerKind
from aff_contracts.errors import AffError
from aff_contracts.schemas.payload_filter import describe_validation_error
from aff_toolkit.training.losses.arcface import ArcFace
from aff_toolkit.training.losses.compatibility_loss import DEFAULT_LOSSES, CompatibilityLoss
from aff_toolkit.training.optimisation_section import OptimisationSection
from aff_toolkit.training.update_rule import UpdateRule


class RecipeError(AffError):
    """The recipe cannot be read, or asks for something that there is not."""

    code = "recipe_invalid"
    status = 422
    title = "Invalid training recipe"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScenesSection(_Section):
    """Procedural photographs; each view draws its difficulty between the two bounds."""

    instances: int = Field(ge=1)
    views: int = Field(ge=2)
    min_difficulty: float = Field(ge=0, le=1)
    max_difficulty: float = Field(ge=0, le=1)


class LabelledFilesSection(_Section):
    """Extra training photographs: rows of a CSV file with columns path, instance, role and role `train`.

    Attributes:
        csv: The file; paths in it are relative to its directory. Where it does not exist it is left out.
        licence: Licence of the photographs, noted in the bundle.
    """

    csv: Path
    licence: str


class PretrainingSection(_Section):
    """Contrastive training of the networks that start from scratch, on instances that the joint training never sees.

    Attributes:
        temperature: Of the supervised contrastive loss.
    """

    scenes: ScenesSection
    temperature: float = Field(gt=0)


class CompactCnnSection(_Section):
    """The compact network.

    Attributes:
        train_size: Pixels of a side in training; smaller than `input_size`, since crops enlarge what they show.
        optimisation: Of its pretraining.
    """

    train_size: int
    input_size: int
    width: int
    global_dimension: int
    local_dimension: int
    local_tokens: int
    optimisation: OptimisationSection


class RootSiftSection(_Section):
    """RootSIFT on photographs reduced to a longest side of `input_size` pixels."""

    input_size: int
    tokens: int


class MixerSection(_Section):
    """The mixer; see MixerSpec."""

    kind: MixerKind = "transformer"
    layers: int
    heads: int
    mlp_ratio: float
    dropout: float


class QueryEncoderSection(_Section):
    """The light residual network of the query side.

    Attributes:
        width: Channels of the stem.
        train_size: Pixels of a side in training, pretraining and joint.
        optimisation: Of its pretraining.
    """

    width: int = Field(ge=1)
    train_size: int
    input_size: int
    optimisation: OptimisationSection


class JointSection(_Section):
    """Joint training of mixer and query encoder.

    Attributes:
        discriminative: L_disc, of the mixer.
        losses: Compatibility losses of the query encoder, which are added up.
        update: How the query side follows the shared classifier.
    """

    scenes: ScenesSection
    discriminative: ArcFace = ArcFace()
    losses: tuple[CompatibilityLoss, ...] = Field(default=DEFAULT_LOSSES, min_length=1)
    update: UpdateRule = UpdateRule()
    optimisation: OptimisationSection


class EvaluationSection(_Section):
    """Held-out procedural landmarks that the finished bundle is measured on."""

    instances: int
    queries_each: int
    gallery_each: int
    distractors: int
    difficulty: float = Field(ge=0, le=1)


class TrainingRecipe(_Section):
    """See the module's text; `recipe.model_dump()` stands in the bundle's manifest."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    seed: int
    dimension: int = Field(ge=2)
    stored_size: int
    extra: LabelledFilesSection | None = None
    pretraining: PretrainingSection
    compact_cnn: CompactCnnSection
    rootsift: RootSiftSection
    mixer: MixerSection
    query_encoder: QueryEncoderSection
    joint: JointSection
    evaluation: EvaluationSection

    @model_validator(mode="after")
    def _stores_enough_pixels(self) -> TrainingRecipe:
        if self.stored_size < max(self.compact_cnn.train_size, self.query_encoder.train_size):
            raise ValueError("stored_size is smaller than a train_size")
        return self


def load_recipe(path: Path) -> TrainingRecipe:
    """Read a recipe.

    Raises:
        RecipeError: No such file, not TOML, or a setting that is unknown or out of range.
    """
    try:
        return TrainingRecipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", item=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"is not TOML: {error}", item=str(path)) from error
    except ValidationError as error:
        raise RecipeError(describe_validation_error(error), item=str(path)) from error
