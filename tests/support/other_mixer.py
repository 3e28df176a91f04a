"""The same extractors with another mixer: a bundle of another embedding space."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from aff_shared.bundles.bundle import BundleManifest, build_manifest, load_manifest, write_manifest


def write_other_mixer(source: Path, target: Path, *, name: str) -> BundleManifest:
    """Copy a bundle, and disturb the weights of its mixer."""
    shutil.copytree(source, target)
    old = load_manifest(target)
    weights = load_file(target / old.mixer.weights)
    noise = torch.Generator().manual_seed(5)
    disturbed = {key: value + 0.02 * torch.randn(value.shape, generator=noise) for key, value in weights.items()}
    save_file(disturbed, target / old.mixer.weights)
    manifest = build_manifest(
        target,
        name=name,
        dimension=old.space.dimension,
        query_encoder=old.query_encoder,
        mixer=old.mixer,
        extractors=old.extractors,
        recipe=old.recipe,
        metrics=old.metrics,
        licences=old.licences,
        prototypes=old.prototypes,
    )
    write_manifest(target, manifest)
    return manifest
