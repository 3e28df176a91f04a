"""The two identities of a bundle, derived from its specifications and from the sha256 of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aff_shared.bundles.bundle_specs import BundleFile, ExtractorSpec, MixerSpec, QueryEncoderSpec
from aff_shared.schemas.embedding_space import EmbeddingSpace


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
    """Return the id of a bundle's extractors with their weights: bundles that share it give equal features."""
    weights = {e.weights for e in extractors if e.weights}
    return _digest(
        {
            "extractors": [e.identity() for e in extractors],
            "files": {file.path: file.sha256 for file in files if file.path in weights},
        }
    )


def fingerprint(
    space: EmbeddingSpace, query_encoder: QueryEncoderSpec, files: tuple[BundleFile, ...], *, unserved: str | None
) -> str:
    """Return the identity of all that is served: the space, the query encoder in every precision, and their files.

    Args:
        space: The space.
        query_encoder: The query encoder.
        files: Every file of the bundle.
        unserved: Path of a file that neither service loads.
    """
    return _digest(
        {
            "space": space.model_dump(mode="json"),
            "query_encoder": query_encoder.identity(),
            "files": {file.path: file.sha256 for file in files if file.path != unserved},
        }
    )


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
