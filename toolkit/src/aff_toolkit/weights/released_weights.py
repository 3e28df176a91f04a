"""Weights of a network of this project that others released: in a package, a checkpoint, or safetensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aff_toolkit.errors import ExtractorUnavailableError, UnreadableCheckpointError
from aff_toolkit.weights.convert_checkpoint import read_checkpoint
from aff_toolkit.weights.packaged_weights import find_packaged_weights, is_packaged, read_packaged_weights
from aff_toolkit.weights.stored_precision import SMALL_TENSOR, Stored

_SHOWN = 8


def read_released_weights(source: str) -> Mapping[str, Any]:
    """Read named weights; nothing in a file is executed.

    Args:
        source: `package:NAME` (see packaged_weights), or a file: safetensors, else a checkpoint of torch.

    Raises:
        ExtractorUnavailableError: The package is not here, or not the known one.
        UnreadableCheckpointError: The file is missing, damaged, no checkpoint, or needs code to be read.
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
    """Return where weights are from, for a bundle's manifest: package or name of the file, and its sha256."""
    if is_packaged(source):
        return find_packaged_weights(source).source
    with Path(source).open("rb") as stream:
        return f"{Path(source).name}, sha256 {hashlib.file_digest(stream, 'sha256').hexdigest()}"


def load_released_weights(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Set all weights of a network; those that it has no place for are left out.

    Raises:
        ExtractorUnavailableError: They are another network's; lists those that are missing or of another shape.
    """
    wanted = network.state_dict()
    misfits = [name for name in wanted if name not in weights or weights[name].shape != wanted[name].shape]
    if misfits:
        shown = ", ".join(misfits[:_SHOWN])
        raise ExtractorUnavailableError(f"is not the network that the recipe names; it lacks {shown}", item=source)
    network.load_state_dict({name: weights[name] for name in wanted})


def save_tensors(tensors: Mapping[str, Tensor], path: Path, stored: Stored) -> None:
    """Write the weights of a network, and what was fitted beside it, where a bundle keeps them.

    Args:
        tensors: By their names, float32.
        path: Of the safetensors; folders are made.
        stored: `fp16` rounds large convolutions and matrices; small ones, as SMALL_TENSOR has it, stay float32.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: _rounded(tensor, stored) for name, tensor in tensors.items()}, path)


def _rounded(tensor: Tensor, stored: Stored) -> Tensor:
    halved = tensor.to(torch.float16) if stored == "fp16" and tensor.numel() > SMALL_TENSOR else tensor
    return halved.contiguous()
