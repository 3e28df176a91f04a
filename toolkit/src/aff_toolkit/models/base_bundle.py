"""An existing bundle that a training starts from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_file
from torch import Tensor, nn

from aff_shared.bundles.bundle import BundleManifest, load_manifest, verify_files
from aff_shared.errors import BundleFormatError
from aff_toolkit.models.onnx_weights import load_onnx_weights
from aff_toolkit.models.query_encoder import QueryEncoder
from gallery_indexer.features.mixers.build_mixer import build_mixer

PROTOTYPES_FILE = "prototypes.safetensors"
_TENSOR, _INSTANCES = "prototypes", "instances"


@dataclass(frozen=True, slots=True)
class BaseBundle:
    """A bundle with verified files.

    Attributes:
        directory: The directory of the bundle.
        manifest: The manifest.
    """

    directory: Path
    manifest: BundleManifest

    @classmethod
    def open(cls, directory: Path) -> BaseBundle:
        """Read a bundle and verify its files.

        Raises:
            BundleError: The bundle is missing, altered, or of a newer format.
        """
        manifest = load_manifest(directory)
        verify_files(directory, manifest)
        return cls(directory, manifest)

    def load_mixer(self) -> nn.Module:
        """Build the mixer with the bundle's weights, in evaluation mode.

        Raises:
            BundleFormatError: Weights and specification do not match each other or this release.
        """
        spec = self.manifest.mixer
        try:
            mixer = build_mixer(self.manifest.features, spec, self.manifest.space.dimension)
            load_model(mixer, self.directory / spec.weights)
        except (RuntimeError, ValueError, SafetensorError) as error:
            raise BundleFormatError(f"mixer weights do not match: {error}", item=spec.weights) from error
        return mixer.eval()

    def load_query_encoder(self, encoder: QueryEncoder, images: Tensor | None = None) -> None:
        """Load the bundle's weights into an encoder of the same architecture; see load_onnx_weights.

        Raises:
            BundleFormatError: The query encoder is of another architecture.
        """
        load_onnx_weights(encoder, self.directory / self.manifest.query_encoder.model, images)

    def prototypes_of(self, instances: Sequence[str]) -> Tensor | None:
        """Return the prototypes (C, D) float32 of C instances; None if the bundle lacks any of them.

        Raises:
            BundleFormatError: The file does not contain prototypes.
        """
        if self.manifest.prototypes is None:
            return None
        prototypes, names = read_prototypes(self.directory / self.manifest.prototypes)
        rows = {name: row for row, name in enumerate(names)}
        if not set(instances) <= set(rows):
            return None
        return prototypes[[rows[instance] for instance in instances]]

    def copy_gallery_side(self, directory: Path) -> None:
        """Copy extractors, mixer and prototypes into another directory, byte for byte."""
        prototypes = (self.manifest.prototypes,) if self.manifest.prototypes else ()
        self._copy_files((*self.manifest.gallery_files, *prototypes), directory)

    def _copy_files(self, paths: tuple[str, ...], directory: Path) -> None:
        for path in paths:
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.directory / path, target)


def write_prototypes(path: Path, prototypes: Tensor, instances: Sequence[str]) -> None:
    """Write prototypes in half precision with the names of their instances.

    Args:
        path: Path of the file.
        prototypes: (C, D), of any length.
        instances: Names of the C instances.
    """
    content = {_TENSOR: prototypes.to(torch.float16).contiguous()}
    save_file(content, path, metadata={_INSTANCES: json.dumps(list(instances))})
    path.chmod(0o644)


def read_prototypes(path: Path) -> tuple[Tensor, list[str]]:
    """Read prototypes (C, D) float32 and the C names of their instances.

    Raises:
        BundleFormatError: The file was not written by write_prototypes.
    """
    try:
        with safe_open(path, framework="pt") as file:
            prototypes: Tensor = file.get_tensor(_TENSOR).float()
            instances: list[str] = json.loads(file.metadata()[_INSTANCES])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BundleFormatError(f"does not contain prototypes with names: {error}", item=str(path)) from error
    if len(instances) != len(prototypes):
        raise BundleFormatError(f"{len(prototypes)} prototypes with {len(instances)} names", item=str(path))
    return prototypes, instances
