"""The sections of a training recipe that describe data and models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from aff_toolkit.training.optimisation_section import OptimisationSection


class Section(BaseModel):
    """Base of every section: settings that are not known are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SceneSource(Section):
    """Procedural photographs; each view draws its difficulty between the two bounds."""

    kind: Literal["scenes"] = "scenes"
    first_instance: int = Field(ge=0)
    instances: int = Field(ge=1)
    views: int = Field(ge=2)
    min_difficulty: float = Field(ge=0, le=1)
    max_difficulty: float = Field(ge=0, le=1)


class CsvSource(Section):
    """Rows of a CSV file with columns path, instance, and role or split.

    Attributes:
        path: The file; the paths in it are relative to its directory.
        roles: Which rows to take.
        part: Every second instance by name, or all: two parts share no instance.
        optional: Left out where there is no such file.
        licence: Licence of the photographs, noted in the bundle.
    """

    kind: Literal["csv"] = "csv"
    path: Path
    roles: tuple[str, ...] = ("train",)
    part: Literal["all", "even", "odd"] = "all"
    optional: bool = False
    licence: str


class FolderSource(Section):
    """A folder with a subfolder per instance."""

    kind: Literal["folder"] = "folder"
    path: Path
    licence: str


class Gldv2Source(Section):
    """Google Landmarks v2, clean: `train_clean.csv` and the tree of its photographs."""

    kind: Literal["gldv2"] = "gldv2"
    csv: Path
    images: Path
    licence: str = "Google Landmarks Dataset v2: CC BY 4.0 (labels), photographs under their authors' licences"


Source = Annotated[SceneSource | CsvSource | FolderSource | Gldv2Source, Field(discriminator="kind")]


class PretrainingSection(Section):
    """Contrastive training of a network that starts from scratch, on instances that the joint training never sees.

    Attributes:
        temperature: Of the supervised contrastive loss.
    """

    data: tuple[Source, ...] = Field(min_length=1)
    temperature: float = Field(default=0.1, gt=0)
    optimisation: OptimisationSection


class CompactCnnSection(Section):
    """The compact network.

    Attributes:
        name: Of the extractor; its features are `<name>_gem` and `<name>_attention`.
        train_size: Pixels of a side in training; smaller than `input_size`, since crops enlarge what they show.
    """

    family: Literal["compact_cnn"] = "compact_cnn"
    name: str = Field(default="cnn", pattern=r"^[a-z0-9_]+$")
    train_size: int = Field(ge=16)
    input_size: int = Field(ge=16)
    width: int = Field(ge=1)
    global_dimension: int = Field(ge=2)
    local_dimension: int = Field(ge=2)
    local_tokens: int = Field(ge=1)
    pretraining: PretrainingSection


class RootSiftSection(Section):
    """RootSIFT on photographs reduced to a longest side of `input_size` pixels."""

    family: Literal["rootsift"] = "rootsift"
    input_size: int = Field(ge=16)
    tokens: int = Field(ge=1)


class BundleExtractorsSection(Section):
    """All extractors of an existing bundle, frozen as they are."""

    family: Literal["bundle"] = "bundle"
    path: Path


ExtractorSection = Annotated[
    CompactCnnSection | RootSiftSection | BundleExtractorsSection, Field(discriminator="family")
]


class QueryEncoderSection(Section):
    """The light residual network of the query side.

    Attributes:
        width: Channels of the stem.
        train_size: Pixels of a side in training, pretraining and joint.
        input_size: Pixels of a side of a query.
        pretraining: Where there is none, the joint training starts from scratch.
    """

    width: int = Field(ge=1)
    train_size: int = Field(ge=16)
    input_size: int = Field(ge=16)
    pretraining: PretrainingSection | None = None
