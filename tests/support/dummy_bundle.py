"""A bundle whose manifest is right and whose model files hold no models, or one query encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from aff_shared.bundles.bundle import (
    BundleManifest,
    ExtractorSpec,
    FeatureSpec,
    MixerSpec,
    QueryEncoderSpec,
    build_manifest,
    write_manifest,
)
from aff_shared.schemas.preprocessing import Preprocessing


def write_dummy_bundle(
    directory: Path,
    *,
    dimension: int,
    query_encoder: bytes = b"no query encoder",
    mixer: bytes = b"no mixer",
    int8_query_encoder: bytes | None = None,
    resize: Literal["stretch", "longest_side"] = "stretch",
    family: str = "none",
    config: Mapping[str, Any] | None = None,
) -> BundleManifest:
    """Write a bundle of the given embedding dimension into `directory`; encoder inputs are 32 pixels wide.

    Its extractor is of that family and configuration, and has no weights.
    """
    (directory / "query_encoder.onnx").write_bytes(query_encoder)
    (directory / "mixer.safetensors").write_bytes(mixer)
    if int8_query_encoder is not None:
        (directory / "query_encoder.int8.onnx").write_bytes(int8_query_encoder)
    preprocessing = Preprocessing(resize=resize, size=32)
    manifest = build_manifest(
        directory,
        name="dummy",
        dimension=dimension,
        query_encoder=QueryEncoderSpec(
            model="query_encoder.onnx",
            int8_model=None if int8_query_encoder is None else "query_encoder.int8.onnx",
            architecture="none",
            preprocessing=preprocessing,
        ),
        mixer=MixerSpec(weights="mixer.safetensors", layers=1, heads=1, mlp_ratio=1.0, dropout=0.0),
        extractors=[
            ExtractorSpec(
                name="none",
                family=family,
                preprocessing=preprocessing,
                features=(FeatureSpec(name="none", kind="global", dimension=4, max_tokens=1),),
                weights_source="none",
                config=dict(config or {}),
            )
        ],
        recipe={},
        metrics={},
        licences=[],
    )
    write_manifest(directory, manifest)
    return manifest
