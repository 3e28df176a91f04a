"""The file in a bundle that keeps the training prototypes, for query encoders that are trained later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aff_shared.errors import BundleFormatError

PROTOTYPES_FILE = "prototypes.safetensors"

_TENSOR, _INSTANCES = "prototypes", "instances"


def write_prototypes(path: Path, prototypes: Tensor, instances: Sequence[str]) -> None:
    """Write prototypes in half precision with the names of their instances.

    Args:
        path: Of the file.
        prototypes: (C, D), of any length.
        instances: C names.
    """
    content = {_TENSOR: prototypes.to(torch.float16).contiguous()}
    save_file(content, path, metadata={_INSTANCES: json.dumps(list(instances))})
    path.chmod(0o644)


def read_prototypes(path: Path) -> tuple[Tensor, list[str]]:
    """Read prototypes (C, D) float32 and the C names of their instances.

    Raises:
        BundleFormatError: Not a file that write_prototypes wrote.
    """
    try:
        with safe_open(path, framework="pt") as file:
            prototypes: Tensor = file.get_tensor(_TENSOR).float()
            instances: list[str] = json.loads(file.metadata()[_INSTANCES])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BundleFormatError(f"holds no prototypes with names: {error}", item=str(path)) from error
    if len(instances) != len(prototypes):
        raise BundleFormatError(f"{len(prototypes)} prototypes with {len(instances)} names", item=str(path))
    return prototypes, instances
