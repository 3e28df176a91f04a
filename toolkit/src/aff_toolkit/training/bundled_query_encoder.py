"""The query encoder of a finished bundle: `bundle:DIRECTORY` where a recipe names weights to start from."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from aff_contracts.bundle import BundleManifest
from aff_toolkit.training.base_bundle import BaseBundle
from aff_toolkit.training.extractor_errors import ExtractorUnavailableError
from aff_toolkit.training.light_network import LightNetwork
from aff_toolkit.training.onnx_weights import load_onnx_weights
from aff_toolkit.training.query_backbones import QUERY_BACKBONES, query_backbone_of
from aff_toolkit.training.query_encoder import QueryEncoder

_SCHEME = "bundle:"


def is_bundled(source: str) -> bool:
    """Return whether weights are those of a bundle's query encoder."""
    return source.startswith(_SCHEME)


def bundle_of(source: str) -> BaseBundle:
    """Open the bundle of a source.

    Raises:
        BundleError: Missing, altered, or of a newer format.
    """
    return BaseBundle.open(Path(source.removeprefix(_SCHEME)))


def load_bundled_query_encoder(encoder: QueryEncoder, source: str, images: Tensor | None = None) -> None:
    """Set an encoder, trunk and head, to a bundle's.

    Args:
        encoder: Set in place, left in evaluation mode.
        source: `bundle:DIRECTORY`.
        images: See load_onnx_weights.

    Raises:
        BundleError: Missing, altered, of a newer format, or its query encoder is of another architecture.
    """
    bundle = bundle_of(source)
    load_onnx_weights(encoder, bundle.directory / bundle.manifest.query_encoder.model, images)


def read_bundled_network(source: str) -> LightNetwork:
    """Read the network of a bundle's query encoder, whose batch normalisations are folded into its convolutions.

    Raises:
        BundleError: Missing, altered, or of a newer format.
        ExtractorUnavailableError: This release has no such network, or the network has no trunk.
    """
    manifest = bundle_of(source).manifest
    name = query_backbone_of(manifest)
    encoder = None if name is None else QUERY_BACKBONES[name].build(manifest.space.dimension)
    if encoder is None or not isinstance(encoder.network, LightNetwork):
        raise ExtractorUnavailableError("its query encoder cannot be taken for an extractor", item=source)
    load_bundled_query_encoder(encoder, source)
    return encoder.network


def describe_bundled(manifest: BundleManifest) -> str:
    """Return which bundle a query encoder is of, for the manifest of another one."""
    return f"query encoder of the bundle {manifest.name}, fingerprint {manifest.fingerprint}"
