"""The query encoder's Protocol, and the choice of a bundle's graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from aff_shared.bundles.bundle import ServedManifest
from aff_shared.bundles.bundle_specs import QueryEncoderSpec
from aff_shared.errors import BundlePrecisionError, EncoderMissingError

Precision = Literal["fp32", "int8"]


class QueryEncoder(Protocol):
    """Turns photographs into query embeddings; callable from several threads at once."""

    @property
    def decode_min_side(self) -> int:
        """Side of the input, in pixels; a photograph need not be decoded much larger."""
        ...

    @property
    def precision(self) -> Precision:
        """Precision of the graph."""
        ...

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed (H, W, 3) uint8 upright RGB photographs of any sizes: (B, D) float32, unit length.

        Raises:
            EncoderError: The model failed, or did not return unit vectors.
        """
        ...


def query_encoder_of(manifest: ServedManifest) -> QueryEncoderSpec:
    """Return the query encoder of a manifest.

    Raises:
        EncoderMissingError: It describes an imported space without one.
    """
    if manifest.query_encoder is None:
        raise EncoderMissingError(
            f"the vectors were imported as {manifest.name!r} without a query encoder: search with an embedding "
            f"(POST /search/embedding, fingerprint {manifest.fingerprint}) or a similar image, or import them again "
            "with --query-encoder",
            item=manifest.name,
        )
    return manifest.query_encoder


def choose_precision(spec: QueryEncoderSpec, requested: Precision | Literal["auto"]) -> Precision:
    """Return the precision of the graph to load; `auto` takes int8 where the bundle has it.

    Raises:
        BundlePrecisionError: The bundle has no int8 graph, and nothing else will do.
    """
    if requested == "int8" and spec.int8_model is None:
        raise BundlePrecisionError("the bundle has no int8 query encoder; use auto or fp32", item="int8")
    if requested == "auto":
        return "fp32" if spec.int8_model is None else "int8"
    return requested


def graph_path(spec: QueryEncoderSpec, precision: Precision) -> str:
    """Return the path of a graph that the bundle has, in its directory."""
    if precision == "fp32":
        return spec.model
    assert spec.int8_model is not None, "choose_precision returns only precisions that the bundle has"
    return spec.int8_model
