"""An existing bundle that a training starts from: its mixer, query encoder and prototypes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_file
from torch import Tensor, nn

from aff_shared.bundles.bundle import BundleManifest, load_manifest, verify_files
from aff_shared.errors import BundleFormatError
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.weights.half_weights import restore_weights
from gallery_indexer.features.mixers.build_mixer import build_mixer

PROTOTYPES_FILE = "prototypes.safetensors"
_TENSOR, _INSTANCES = "prototypes", "instances"
_Layer = nn.Conv2d | nn.Linear
_Norm = nn.BatchNorm2d | nn.BatchNorm1d


@dataclass(frozen=True, slots=True)
class BaseBundle:
    """A bundle with verified files."""

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
        """Load the bundle's weights into an encoder of the same architecture; see load_onnx_weights."""
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
        for path in (*self.manifest.gallery_files, *prototypes):
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.directory / path, target)


def write_prototypes(path: Path, prototypes: Tensor, instances: Sequence[str]) -> None:
    """Write prototypes (C, D), of any length, in half precision with the names of their C instances."""
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


@torch.no_grad()
def load_onnx_weights(encoder: QueryEncoder, path: Path, images: Tensor | None) -> None:
    """Load the weights of an ONNX graph of the same architecture into an encoder, so that training can continue.

    The export folds every batch normalisation into the layer before it. The folded weights are loaded, and each
    normalisation is set to its statistics on the images, with the scale and the shift that undo them. The encoder is
    left in evaluation mode.

    Args:
        encoder: Set in place.
        path: The graph, written by export_query_encoder; its weights may be halved.
        images: (B, S, S, 3) uint8 training photographs. None leaves the normalisations folded, for an encoder that is
            not trained.

    Raises:
        BundleFormatError: The graph does not contain the weights of such an encoder.
    """
    try:
        graph = restore_weights(onnx.load(path)).graph
        found = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
        for name, layer, norm in _layers(encoder):
            layer.weight.copy_(found[f"{name}.weight"])
            if norm is not None:
                _load_folded(layer, norm, found, name)
            elif layer.bias is not None:
                layer.bias.copy_(found[f"{name}.bias"])
        encoder.get_parameter("network.pool.exponent").copy_(found["network.pool.exponent"])
    except (KeyError, RuntimeError, OSError, ValueError) as error:
        detail = f"does not contain the weights of this query encoder ({error}): train one from scratch"
        raise BundleFormatError(detail, item=str(path)) from error
    if images is None:
        encoder.eval()
    else:
        _take_statistics(encoder, images)


def _layers(encoder: nn.Module) -> Iterator[tuple[str, _Layer, _Norm | None]]:
    """Yield every layer by name, with the normalisation that follows it, if any."""
    before: tuple[str, _Layer] | None = None
    for name, module in encoder.named_modules():
        if isinstance(module, _Norm) and before is not None:
            yield (*before, module)
            before = None
        elif isinstance(module, _Layer):
            if before is not None:
                yield (*before, None)
            before = (name, module)
    if before is not None:
        yield (*before, None)


def _load_folded(layer: _Layer, norm: _Norm, found: Mapping[str, Tensor], name: str) -> None:
    if layer.bias is not None:
        layer.bias.zero_()
    norm.reset_running_stats()
    norm.weight.fill_((1 + norm.eps) ** 0.5)
    norm.bias.copy_(found[f"{name}.{'bias' if isinstance(layer, nn.Linear) else 'weight_bias'}"])


def _take_statistics(encoder: nn.Module, images: Tensor) -> None:
    """Set every normalisation to mean and variance of its input, without changing the encoder's outputs."""
    seen: dict[_Norm, tuple[Tensor, Tensor]] = {}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _Norm)
        values = inputs[0].transpose(0, 1).flatten(1)
        seen[norm] = values.mean(dim=1), values.var(dim=1)

    hooks = [norm.register_forward_pre_hook(note) for _, _, norm in _layers(encoder) if norm is not None]
    encoder.eval()(images)
    for hook in hooks:
        hook.remove()
    for norm, (mean, variance) in seen.items():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.add_(norm.running_mean)
