"""The model bundle: a directory that never travels without its contract.

`bundle.json` names every file with its sha256. From those and from the specifications beside them two
identities are derived: the id of the embedding space (gallery side only) and the fingerprint (everything).
Both are recomputed at load, so a bundle that was altered by a single byte is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from aff_contracts.embedding_space import EmbeddingSpace, Sha256
from aff_contracts.errors import BundleFormatError, BundleIntegrityError, BundleNotFoundError
from aff_contracts.preprocessing import Preprocessing

MANIFEST_NAME = "bundle.json"
FORMAT_VERSION = 1

MixerKind = Literal["transformer", "mlp", "laff", "orthogonal", "identity"]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BundleFile(_Spec):
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


class FeatureSpec(_Spec):
    """One feature that an extractor gives per image.

    Attributes:
        name: Unique in the bundle.
        kind: `global` gives (dimension,), `local` gives (n, dimension) with n <= max_tokens.
        dimension: Width of the feature before the mixer's projection.
        max_tokens: 1 for a global feature.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    kind: Literal["global", "local"]
    dimension: int = Field(ge=1)
    max_tokens: int = Field(ge=1)


class ExtractorSpec(_Spec):
    """A frozen extractor of the gallery side; one extractor may give several features from one pass."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    family: str
    preprocessing: Preprocessing
    features: tuple[FeatureSpec, ...] = Field(min_length=1)
    weights: str | None = None
    weights_source: str
    config: dict[str, Any] = {}


class MixerSpec(_Spec):
    """The mixer: its weights and what is needed to build it.

    Attributes:
        kind: Which way of fusion; `transformer` is the dynamic mixer of the paper, the others are for comparison.
        layers: Depth, of the kinds that have one.
        heads: Attention heads, of the kinds that have them.
        mlp_ratio: Width of the hidden layers as a multiple of the embedding's.
        dropout: Share of activations that training drops.
    """

    weights: str
    kind: MixerKind = "transformer"
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)


class QueryEncoderSpec(_Spec):
    """The query encoder: ONNX, uint8 (B, size, size, 3) RGB in, unit float32 (B, D) out."""

    model: str
    architecture: str
    preprocessing: Preprocessing


class BundleManifest(_Spec):
    """The contract of a jointly trained pair.

    Attributes:
        fingerprint: Identity of the whole pair.
        space: The embedding space that both sides write into; its id covers the gallery side.
        recipe: How the bundle was made: settings, seeds, data.
        metrics: What was measured on it, by protocol.
        licences: Licences of weights and training data, one line each.
    """

    format_version: Literal[1] = 1
    name: str
    fingerprint: Sha256
    space: EmbeddingSpace
    query_encoder: QueryEncoderSpec
    mixer: MixerSpec
    extractors: tuple[ExtractorSpec, ...] = Field(min_length=1)
    files: tuple[BundleFile, ...]
    recipe: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    licences: tuple[str, ...] = ()

    @property
    def gallery_files(self) -> tuple[str, ...]:
        """Paths of the files that the gallery side loads."""
        return (self.mixer.weights, *(e.weights for e in self.extractors if e.weights))

    @property
    def query_files(self) -> tuple[str, ...]:
        """Paths of the files that the query side loads."""
        return (self.query_encoder.model,)

    @property
    def features(self) -> tuple[FeatureSpec, ...]:
        """Every feature of every extractor, in the order in which the mixer takes them."""
        return tuple(feature for extractor in self.extractors for feature in extractor.features)


def build_manifest(
    directory: Path,
    *,
    name: str,
    dimension: int,
    query_encoder: QueryEncoderSpec,
    mixer: MixerSpec,
    extractors: Iterable[ExtractorSpec],
    recipe: Mapping[str, Any],
    metrics: Mapping[str, Any],
    licences: Iterable[str],
) -> BundleManifest:
    """Describe the model files that lie in `directory`, and derive both identities from them.

    Raises:
        BundleNotFoundError: A file that a specification names is not in `directory`.
    """
    extractors = tuple(extractors)
    paths = [query_encoder.model, mixer.weights, *(e.weights for e in extractors if e.weights)]
    files = tuple(_describe(directory, path) for path in sorted(set(paths)))
    space = EmbeddingSpace(id=_space_id(dimension, mixer, extractors, files), dimension=dimension)
    return BundleManifest(
        name=name,
        fingerprint=_fingerprint(space, query_encoder, files),
        space=space,
        query_encoder=query_encoder,
        mixer=mixer,
        extractors=extractors,
        files=files,
        recipe=dict(recipe),
        metrics=dict(metrics),
        licences=tuple(licences),
    )


def write_manifest(directory: Path, manifest: BundleManifest) -> Path:
    """Write `bundle.json` into `directory`; return its path."""
    path = directory / MANIFEST_NAME
    path.write_text(json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
    return path


def load_manifest(directory: Path) -> BundleManifest:
    """Read `bundle.json` and check that its identities follow from its contents.

    The files beside it are not touched: see `verify_files`.

    Raises:
        BundleNotFoundError: No manifest there.
        BundleFormatError: Not a manifest of this format version.
        BundleIntegrityError: Space id or fingerprint do not follow from the contents.
    """
    path = directory / MANIFEST_NAME
    try:
        manifest = BundleManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BundleNotFoundError(f"no readable {MANIFEST_NAME} in {directory}", item=str(path)) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise BundleFormatError(
            f"{place}: {first['msg']} (this release reads bundle format {FORMAT_VERSION})", item=str(path)
        ) from error
    _check_identities(manifest, path)
    return manifest


def verify_files(directory: Path, manifest: BundleManifest, paths: Iterable[str] | None = None) -> None:
    """Check size and sha256 of the named files (all files when none are named).

    Raises:
        BundleNotFoundError: A file is missing.
        BundleIntegrityError: A file is not the one that the manifest describes, or not listed at all.
    """
    known = {file.path: file for file in manifest.files}
    for path in known if paths is None else paths:
        if path not in known:
            raise BundleIntegrityError("not listed in the manifest", item=path)
        found = _describe(directory, path)
        if found != known[path]:
            raise BundleIntegrityError(
                f"sha256 is {found.sha256[:12]}... ({found.size_bytes} bytes), the manifest says "
                f"{known[path].sha256[:12]}... ({known[path].size_bytes} bytes)",
                item=path,
            )


def _check_identities(manifest: BundleManifest, path: Path) -> None:
    missing = {*manifest.gallery_files, *manifest.query_files} - {file.path for file in manifest.files}
    if missing:
        raise BundleIntegrityError(f"no sha256 for {', '.join(sorted(missing))}", item=str(path))
    space_id = _space_id(manifest.space.dimension, manifest.mixer, manifest.extractors, manifest.files)
    if space_id != manifest.space.id:
        raise BundleIntegrityError("the space id does not follow from the gallery side", item=str(path))
    if _fingerprint(manifest.space, manifest.query_encoder, manifest.files) != manifest.fingerprint:
        raise BundleIntegrityError("the fingerprint does not follow from the contents", item=str(path))


def _describe(directory: Path, path: str) -> BundleFile:
    try:
        with (directory / path).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return BundleFile(path=path, sha256=digest, size_bytes=stream.tell())
    except OSError as error:
        raise BundleNotFoundError(f"no readable file {path} in {directory}", item=path) from error


def _space_id(
    dimension: int, mixer: MixerSpec, extractors: tuple[ExtractorSpec, ...], files: tuple[BundleFile, ...]
) -> str:
    weights = {mixer.weights, *(e.weights for e in extractors if e.weights)}
    return _digest(
        {
            "dimension": dimension,
            "mixer": mixer.model_dump(mode="json"),
            "extractors": [e.model_dump(mode="json") for e in extractors],
            "files": {file.path: file.sha256 for file in files if file.path in weights},
        }
    )


def _fingerprint(space: EmbeddingSpace, query: QueryEncoderSpec, files: tuple[BundleFile, ...]) -> str:
    return _digest(
        {
            "space": space.model_dump(mode="json"),
            "query_encoder": query.model_dump(mode="json"),
            "files": {file.path: file.sha256 for file in files},
        }
    )


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
