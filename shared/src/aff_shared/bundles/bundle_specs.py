"""The specifications in a bundle's manifest (files, extractors, mixer, query encoder), and their identities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from aff_shared.schemas.embedding_space import EmbeddingSpace, Sha256
from aff_shared.schemas.preprocessing import Preprocessing

MixerKind = Literal["transformer", "mlp", "laff", "orthogonal", "identity"]


class Spec(BaseModel):
    """A part of the manifest.

    Attributes:
        younger_than_format_1: Fields that format 1 does not have.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    younger_than_format_1: ClassVar[frozenset[str]] = frozenset()

    def identity(self) -> dict[str, Any]:
        """Return what an identity covers, as JSON: every field but the younger ones that hold their default.

        A field that a release adds, and a bundle does not use, must not move the bundle's identity: its gallery would
        have to be indexed again for nothing.
        """
        fields = type(self).model_fields
        unused = {name for name in self.younger_than_format_1 if getattr(self, name) == fields[name].default}
        return self.model_dump(mode="json", exclude=unused)


class BundleFile(Spec):
    """A file of the bundle; `path` is relative to the manifest and never leaves its directory."""

    path: str = Field(min_length=1)
    sha256: Sha256
    size_bytes: int = Field(ge=0)

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or "\\" in path:
            raise ValueError(f"{path!r} leads out of the bundle")
        return path


class FeatureSpec(Spec):
    """One feature that an extractor returns for each image.

    Attributes:
        name: Unique in the bundle.
        kind: `global` has shape (dimension,), `local` (n, dimension) with n <= max_tokens.
        dimension: Width of the feature before the mixer's projection.
        max_tokens: 1 for a global feature.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    kind: Literal["global", "local"]
    dimension: int = Field(ge=1)
    max_tokens: int = Field(ge=1)


class ExtractorSpec(Spec):
    """A frozen extractor of the gallery side; one extractor may return several features."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    family: str
    preprocessing: Preprocessing
    features: tuple[FeatureSpec, ...] = Field(min_length=1)
    weights: str | None = None
    weights_source: str
    config: dict[str, Any] = Field(default_factory=dict)


class MixerSpec(Spec):
    """The mixer: its weights and what is needed to build it.

    Attributes:
        kind: Which way of fusion; `transformer` is the dynamic mixer of the paper, the others are for comparison.
        layers: Depth, of the kinds that have one.
        heads: Attention heads, of the kinds that have them.
        mlp_ratio: Width of the hidden layers as a multiple of the embedding's.
        dropout: Share of activations that training drops.
        anchor: Name of the global feature that the embedding starts from, to which the mixer adds what it fuses; None
            for the paper's form, in which the embedding is the mixer's output alone.
    """

    younger_than_format_1: ClassVar[frozenset[str]] = frozenset({"kind", "anchor"})

    weights: str
    kind: MixerKind = "transformer"
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    anchor: str | None = None


class QueryEncoderSpec(Spec):
    """The query encoder: ONNX, uint8 (B, size, size, 3) RGB in, unit float32 (B, D) out.

    Attributes:
        model: Path of the float32 graph.
        int8_model: Path of the same encoder quantised, if it passed the check of the export.
        architecture: Name of its architecture.
        preprocessing: How a photograph is resized to `size`.
    """

    younger_than_format_1: ClassVar[frozenset[str]] = frozenset({"int8_model"})

    model: str
    int8_model: str | None = None
    architecture: str
    preprocessing: Preprocessing

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of its files."""
        return (self.model,) if self.int8_model is None else (self.model, self.int8_model)


class ScoreLevels(Spec):
    """Meaning of the scores of searches, measured on photographs that were not trained on.

    Attributes:
        same: Lowest cosine similarity at which at least 95 % of the hits at or above it show the same thing; null if
            there is none.
        likely: The same for 50 %.
        protocol: Queries and gallery of the measurement. In a larger gallery, more hits of a score show other things.
        queries: Number of queries that have a match.
        gallery: Number of gallery images.
    """

    same: float | None
    likely: float | None
    protocol: str
    queries: int
    gallery: int

    def strength(self, score: float) -> Literal["same", "likely", "weak"]:
        """Return what a cosine similarity means."""
        if self.same is not None and score >= self.same:
            return "same"
        return "likely" if self.likely is not None and score >= self.likely else "weak"


def imported_space_id(name: str, dimension: int) -> str:
    """Return the id of an imported space: vectors are comparable if their importer calls their space the same."""
    return _digest({"imported": name, "dimension": dimension})


def space_id(
    dimension: int, mixer: MixerSpec, extractors: tuple[ExtractorSpec, ...], files: tuple[BundleFile, ...]
) -> str:
    """Return the id of the embedding space: it covers the gallery side, which every stored vector depends on."""
    weights = {mixer.weights, *(e.weights for e in extractors if e.weights)}
    return _digest(
        {
            "dimension": dimension,
            "mixer": mixer.identity(),
            "extractors": [e.identity() for e in extractors],
            "files": {file.path: file.sha256 for file in files if file.path in weights},
        }
    )


def extractors_id(extractors: tuple[ExtractorSpec, ...], files: tuple[BundleFile, ...]) -> str:
    """Return the id of a bundle's extractors with their weights: bundles with the same id have equal features."""
    weights = {e.weights for e in extractors if e.weights}
    return _digest(
        {
            "extractors": [e.identity() for e in extractors],
            "files": {file.path: file.sha256 for file in files if file.path in weights},
        }
    )


def fingerprint(
    space: EmbeddingSpace,
    query_encoder: QueryEncoderSpec | None,
    files: tuple[BundleFile, ...],
    *,
    unserved: str | None = None,
) -> str:
    """Return the identity of all that is served: the space, the query encoder in every precision, and their files.

    Args:
        space: The space.
        query_encoder: The query encoder; None if there is none.
        files: Every file of the bundle.
        unserved: Path of a file that neither service loads.
    """
    return _digest(
        {
            "space": space.model_dump(mode="json"),
            "query_encoder": None if query_encoder is None else query_encoder.identity(),
            "files": {file.path: file.sha256 for file in files if file.path != unserved},
        }
    )


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
