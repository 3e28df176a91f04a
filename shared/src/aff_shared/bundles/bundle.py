"""The model bundle: a directory of models with a manifest.

`bundle.json` names every file with its sha256. From those and from the specifications in it, two
identities are derived: the id of the embedding space (gallery side only) and the fingerprint (everything that is
served). Both are recomputed at load, so a bundle in which a single byte was altered is rejected.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from aff_shared.bundles.bundle_manifest import FORMAT_VERSION, BundleManifest, ImportedSpace, ServedManifest
from aff_shared.bundles.bundle_specs import (
    BundleFile,
    ExtractorSpec,
    FeatureSpec,
    MixerKind,
    MixerSpec,
    QueryEncoderSpec,
    ScoreLevels,
    fingerprint,
    imported_space_id,
    space_id,
)
from aff_shared.bundles.default_bundle import missing_default_hint
from aff_shared.errors import BundleFormatError, BundleIntegrityError, BundleNotFoundError
from aff_shared.schemas.embedding_space import EmbeddingSpace

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "BundleFile",
    "BundleManifest",
    "ExtractorSpec",
    "FeatureSpec",
    "ImportedSpace",
    "MixerKind",
    "MixerSpec",
    "QueryEncoderSpec",
    "ScoreLevels",
    "ServedManifest",
    "build_manifest",
    "describe_imported_space",
    "load_manifest",
    "load_served_manifest",
    "verify_files",
    "write_manifest",
]

MANIFEST_NAME = "bundle.json"

_Manifest = TypeVar("_Manifest", BundleManifest, ImportedSpace)


class _Versioned(BaseModel):
    """Format version and kind of any manifest."""

    format_version: int
    kind: str = "trained"


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
    prototypes: str | None = None,
) -> BundleManifest:
    """Return the manifest of the model files in `directory`, with both identities derived from them.

    Raises:
        BundleNotFoundError: A file of a specification is not in `directory`.
    """
    extractors = tuple(extractors)
    paths = {*query_encoder.files, mixer.weights, *(e.weights for e in extractors if e.weights)}
    files = tuple(_describe(directory, path) for path in sorted(paths | ({prototypes} if prototypes else set())))
    space = EmbeddingSpace(id=space_id(dimension, mixer, extractors, files), dimension=dimension)
    return BundleManifest(
        name=name,
        fingerprint=fingerprint(space, query_encoder, files, unserved=prototypes),
        space=space,
        query_encoder=query_encoder,
        mixer=mixer,
        extractors=extractors,
        prototypes=prototypes,
        files=files,
        recipe=dict(recipe),
        metrics=dict(metrics),
        licences=tuple(licences),
    )


def describe_imported_space(
    directory: Path, name: str, dimension: int, query_encoder: QueryEncoderSpec | None = None
) -> ImportedSpace:
    """Return the manifest of an imported space, whose query encoder, if it has one, is in `directory`.

    Raises:
        BundleNotFoundError: The file of the query encoder is not in `directory`.
        ValidationError: The name has other characters than letters, digits, dots, dashes and underscores.
    """
    files = tuple(_describe(directory, path) for path in (query_encoder.files if query_encoder else ()))
    space = EmbeddingSpace(id=imported_space_id(name, dimension), dimension=dimension)
    identity = fingerprint(space, query_encoder, files)
    return ImportedSpace(name=name, fingerprint=identity, space=space, query_encoder=query_encoder, files=files)


def write_manifest(directory: Path, manifest: ServedManifest) -> Path:
    """Write `bundle.json` into `directory`; return its path."""
    path = directory / MANIFEST_NAME
    unset = {"score_levels"} if manifest.score_levels is None else None  # earlier releases reject the field
    path.write_text(json.dumps(manifest.model_dump(mode="json", exclude=unset), indent=2) + "\n", encoding="utf-8")
    return path


def load_manifest(directory: Path) -> BundleManifest:
    """Read `bundle.json` and check that its identities follow from its contents.

    The other files are not read: see `verify_files`.

    Raises:
        BundleNotFoundError: No manifest there.
        BundleFormatError: Not a manifest of a format version that this release reads.
        BundleIntegrityError: Space id or fingerprint do not follow from the contents.
    """
    path = directory / MANIFEST_NAME
    document, kind = _read(path)
    if kind == "imported":
        detail = "it describes an imported embedding space, which has no gallery side: name another bundle"
        raise BundleFormatError(detail, item=str(path))
    manifest = _parsed(BundleManifest, document, path)
    _check_identities(manifest, path)
    return manifest


def load_served_manifest(directory: Path) -> ServedManifest:
    """Read `bundle.json`, also that of an imported space; errors as `load_manifest`."""
    path = directory / MANIFEST_NAME
    document, kind = _read(path)
    if kind != "imported":
        return load_manifest(directory)
    found = _parsed(ImportedSpace, document, path)
    _require_digests(found.query_files, found.files, path)
    if imported_space_id(found.name, found.space.dimension) != found.space.id:
        raise BundleIntegrityError("the space id does not follow from name and dimension", item=str(path))
    if fingerprint(found.space, found.query_encoder, found.files) != found.fingerprint:
        raise BundleIntegrityError("the fingerprint does not follow from the contents", item=str(path))
    return found


def verify_files(directory: Path, manifest: ServedManifest, paths: Iterable[str] | None = None) -> None:
    """Check size and sha256 of the named files (all files when none are named).

    Raises:
        BundleNotFoundError: A file is missing; the message has the remedy.
        BundleIntegrityError: A file differs from the manifest (the message has the remedy), or is not
            listed in it.
    """
    known = {file.path: file for file in manifest.files}
    for path in known if paths is None else paths:
        if path not in known:
            raise BundleIntegrityError("not listed in the manifest", item=path)
        try:
            found = _describe(directory, path)
        except BundleNotFoundError as error:
            raise BundleNotFoundError(f"{error.detail}. {_remedy(directory, manifest, path)}", item=path) from error
        if found != known[path]:
            detail = (
                f"sha256 is {found.sha256[:12]}... ({found.size_bytes} bytes), the manifest has "
                f"{known[path].sha256[:12]}... ({known[path].size_bytes} bytes). {_remedy(directory, manifest, path)}"
            )
            raise BundleIntegrityError(detail, item=path)


def _remedy(directory: Path, manifest: ServedManifest, path: str) -> str:
    """Return the remedy for a missing or altered file."""
    if isinstance(manifest, ImportedSpace):
        return "Import the vectors again, with --query-encoder"
    command = f"aff bundle repair {shlex.quote(str(directory))} --from FOLDER"
    sources = [f"{e.name}: {e.weights_source}" for e in manifest.extractors if e.weights == path]
    return f"Repair it with: {command}, where FOLDER has a copy under any name{''.join(f' ({one})' for one in sources)}"


def _read(path: Path) -> tuple[bytes, str]:
    """Return a manifest as JSON, and its kind; raises if a newer release wrote it."""
    try:
        document = path.read_bytes()
    except OSError as error:
        detail = f"no readable {MANIFEST_NAME} in {path.parent}{missing_default_hint(path.parent)}"
        raise BundleNotFoundError(detail, item=str(path)) from error
    try:
        found = _Versioned.model_validate_json(document)
    except ValidationError:
        return document, "trained"  # parsing the whole manifest reports the error
    newest = 3 if found.kind == "imported" else FORMAT_VERSION
    if found.format_version > newest:
        raise BundleFormatError(
            f"format version {found.format_version} is newer than this release reads ({newest}): upgrade",
            item=str(path),
        )
    return document, found.kind


def _parsed(kind: type[_Manifest], document: bytes, path: Path) -> _Manifest:
    try:
        return kind.model_validate_json(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise BundleFormatError(
            f"{place}: {first['msg']} (this release reads bundle formats up to {FORMAT_VERSION})", item=str(path)
        ) from error


def _require_digests(named: Iterable[str], files: Iterable[BundleFile], path: Path) -> None:
    missing = set(named) - {file.path for file in files}
    if missing:
        raise BundleIntegrityError(f"no sha256 for {', '.join(sorted(missing))}", item=str(path))


def _check_identities(manifest: BundleManifest, path: Path) -> None:
    named = {*manifest.gallery_files, *manifest.query_files, *([manifest.prototypes] if manifest.prototypes else [])}
    _require_digests(named, manifest.files, path)
    space, files = manifest.space, manifest.files
    if space_id(space.dimension, manifest.mixer, manifest.extractors, files) != space.id:
        raise BundleIntegrityError("the space id does not follow from the gallery side", item=str(path))
    if fingerprint(space, manifest.query_encoder, files, unserved=manifest.prototypes) != manifest.fingerprint:
        raise BundleIntegrityError("the fingerprint does not follow from the contents", item=str(path))


def _describe(directory: Path, path: str) -> BundleFile:
    try:
        with (directory / path).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return BundleFile(path=path, sha256=digest, size_bytes=stream.tell())
    except OSError as error:
        raise BundleNotFoundError(f"no readable file {path} in {directory}", item=path) from error
