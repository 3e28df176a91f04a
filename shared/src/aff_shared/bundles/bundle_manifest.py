"""Manifests of model bundles and of imported embedding spaces."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from pydantic import Field, model_validator

from aff_shared.bundles.bundle_specs import (
    BundleFile,
    ExtractorSpec,
    FeatureSpec,
    MixerSpec,
    QueryEncoderSpec,
    ScoreLevels,
    Spec,
)
from aff_shared.schemas.embedding_space import EmbeddingSpace, Sha256

FORMAT_VERSION: Final = 2


class BundleManifest(Spec):
    """Manifest of a jointly trained gallery and query encoder.

    Attributes:
        format_version: Version 1 has neither `MixerSpec.kind`, `QueryEncoderSpec.int8_model` nor `prototypes`.
        fingerprint: Identity of all that is served.
        space: The embedding space that both sides write into; its id covers the gallery side.
        prototypes: Path of the training prototypes, for training further query encoders of the same space; neither
            service loads them, so no identity covers them.
        recipe: How the bundle was made: settings, seeds, data.
        metrics: Measured metrics by protocol; `export` has the results of the checks of the query encoder's graphs.
        licences: Licences of weights and training data, one line each.
        score_levels: Meaning of the scores of searches, as `aff train` and `aff bundle calibrate` measure it; no
            identity covers it.
    """

    format_version: Literal[1, 2] = FORMAT_VERSION
    name: str
    fingerprint: Sha256
    space: EmbeddingSpace
    query_encoder: QueryEncoderSpec
    mixer: MixerSpec
    extractors: tuple[ExtractorSpec, ...] = Field(min_length=1)
    prototypes: str | None = None
    files: tuple[BundleFile, ...]
    recipe: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    licences: tuple[str, ...] = ()
    score_levels: ScoreLevels | None = None

    @model_validator(mode="after")
    def _never_serves_the_prototypes(self) -> BundleManifest:
        if self.prototypes in {*self.gallery_files, *self.query_files}:
            raise ValueError(f"the prototypes {self.prototypes} are a file that is served")
        return self

    @property
    def title(self) -> str:
        """Name and beginning of the fingerprint, for people."""
        return f"{self.name}, fingerprint {self.fingerprint[:12]}"

    @property
    def gallery_files(self) -> tuple[str, ...]:
        """Paths of the files that the gallery side loads."""
        return (self.mixer.weights, *(e.weights for e in self.extractors if e.weights))

    @property
    def query_files(self) -> tuple[str, ...]:
        """Paths of the files that the query side loads, in whatever precision."""
        return self.query_encoder.files

    @property
    def features(self) -> tuple[FeatureSpec, ...]:
        """Every feature of every extractor, in the order in which the mixer takes them."""
        return tuple(feature for extractor in self.extractors for feature in extractor.features)


class ImportedSpace(Spec):
    """Manifest of an embedding space whose vectors another tool made: it has no gallery side.

    Attributes:
        kind: Distinguishes it from a bundle with both sides.
        name: Name of the space; with the dimension it identifies the space.
        fingerprint: Identity of all that is served.
        query_encoder: Encoder of photographs for this space; None if there is none.
        files: Its files.
        licences: Licences of the encoder, one line each.
        score_levels: See BundleManifest.
    """

    format_version: Literal[3] = 3
    kind: Literal["imported"] = "imported"
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    fingerprint: Sha256
    space: EmbeddingSpace
    query_encoder: QueryEncoderSpec | None = None
    files: tuple[BundleFile, ...] = ()
    licences: tuple[str, ...] = ()
    score_levels: ScoreLevels | None = None

    @property
    def title(self) -> str:
        """Name and beginning of the fingerprint, for people."""
        return f"{self.name}, fingerprint {self.fingerprint[:12]}"

    @property
    def query_files(self) -> tuple[str, ...]:
        """Paths of the files that the query side loads."""
        return () if self.query_encoder is None else self.query_encoder.files


ServedManifest: TypeAlias = BundleManifest | ImportedSpace
"""What the query service serves."""
