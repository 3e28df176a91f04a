"""The query encoder of a finished bundle: `bundle:DIRECTORY` where a recipe names weights to start from."""

from __future__ import annotations

from pathlib import Path

from aff_shared.bundles.bundle import BundleManifest
from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.models.lightweight_encoder import LightweightEncoder
from aff_toolkit.models.query_backbones import QUERY_BACKBONES, query_backbone_of

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


def read_bundled_network(source: str) -> LightweightEncoder:
    """Read the network of a bundle's query encoder, whose batch normalisations are folded into its convolutions.

    Raises:
        BundleError: Missing, altered, or of a newer format.
        ExtractorUnavailableError: This release has no such network, or the network has no trunk.
    """
    bundle = bundle_of(source)
    name = query_backbone_of(bundle.manifest)
    encoder = None if name is None else QUERY_BACKBONES[name].build(bundle.manifest.space.dimension)
    if encoder is None or not isinstance(encoder.network, LightweightEncoder):
        raise ExtractorUnavailableError("its query encoder cannot be taken for an extractor", item=source)
    bundle.load_query_encoder(encoder)
    return encoder.network


def describe_bundled(manifest: BundleManifest) -> str:
    """Return which bundle a query encoder is of, for the manifest of another one."""
    return f"query encoder of the bundle {manifest.name}, fingerprint {manifest.fingerprint}"
