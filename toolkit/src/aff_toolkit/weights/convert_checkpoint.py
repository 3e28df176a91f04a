"""Converts a released checkpoint: checks all names and shapes, and writes safetensors with a specification."""

from __future__ import annotations

import codecs
import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct, scalar
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from aff_shared.bundles.bundle import ExtractorSpec
from aff_toolkit.errors import (
    CheckpointKeysError,
    ConvertedNotWrittenError,
    UnknownFormatError,
    UnreadableCheckpointError,
)
from aff_toolkit.weights.checkpoint_formats import CHECKPOINT_FORMATS, CheckpointFormat

_SHOWN = 8
# What NumPy's arrays are rebuilt with, by its names before 2.0 and since; none of it runs anything of the file's.
_ARRAYS: list[Any] = [
    *((_reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    (codecs.encode, "_codecs.encode"),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(name)) for name in ("float32", "float64", "int64")),
]


def convert_checkpoint(file: Path, form: CheckpointFormat, directory: Path) -> ExtractorSpec:
    """Write `<name>.safetensors` and `<name>.json`, its extractor's specification, into a directory.

    The file is a released checkpoint (`.pth`, `.pyth`), from which no code is executed. The `weights` of the returned
    specification are relative to the directory, which is created if it is missing.

    Raises:
        UnreadableCheckpointError: The file is missing, damaged, not a checkpoint, or needs code to be read.
        CheckpointKeysError: Weights are missing, unknown, or of another shape; lists them.
        ConvertedNotWrittenError: The disk is full or not writable.
    """
    document, sha256 = read_checkpoint(file)
    weights = _fitting(form, form.weights_of(document), file)
    name = form.name.replace("-", "_")
    spec = form.spec(f"{name}.safetensors", f"{form.name}: {file.name}, sha256 {sha256}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        save_file(weights, directory / f"{name}.safetensors")
        (directory / f"{name}.json").write_text(spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:  # a full disk is either
        detail = str(getattr(error, "strerror", None) or error)
        raise ConvertedNotWrittenError(detail, item=str(directory)) from error
    return spec


def read_checkpoint(file: Path) -> tuple[Mapping[str, Any], str]:
    """Read the content of a checkpoint and its sha256; no code in it is executed.

    Raises:
        UnreadableCheckpointError: The file is missing, damaged, not a checkpoint, or needs code to be read.
    """
    try:
        sha256 = sha256_of(file)
        with torch.serialization.safe_globals(_ARRAYS):
            document = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UnreadableCheckpointError(f"{error.strerror or error}", item=str(file)) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        detail = f"cannot be read as a checkpoint without running code from it: {error}"
        raise UnreadableCheckpointError(detail, item=str(file)) from error
    if not isinstance(document, Mapping):
        raise UnreadableCheckpointError(f"contains not named weights but {type(document).__name__}", item=str(file))
    return document, sha256


def sha256_of(file: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fitting(form: CheckpointFormat, found: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Rename the weights, and compare names and shapes with the network's.

    Raises:
        CheckpointKeysError: Names or shapes differ.
    """
    wanted = form.network().state_dict()
    renamed = {name: tensor for old, tensor in found.items() if (name := form.rename(old)) is not None}
    unknown = [old for old in found if (name := form.rename(old)) is not None and name not in wanted]
    missing = [name for name in wanted if name not in renamed]
    misshapen = [
        f"{name} {tuple(renamed[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in renamed and renamed[name].shape != tensor.shape
    ]
    differences = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
        for what, names in (("unknown", unknown), ("missing", missing), ("of another shape", misshapen))
        if names
    ]
    if differences:
        raise CheckpointKeysError(
            f"is not of the format {form.name}; weights " + "; ".join(differences), item=str(file)
        )
    return {name: renamed[name].to(tensor.dtype).contiguous().clone() for name, tensor in wanted.items()}


def format_named(name: str) -> CheckpointFormat:
    """Return the format with a name.

    Raises:
        UnknownFormatError: The format does not exist; lists the existing ones.
    """
    if name not in CHECKPOINT_FORMATS:
        raise UnknownFormatError(f"this format does not exist; there are {', '.join(CHECKPOINT_FORMATS)}", item=name)
    return CHECKPOINT_FORMATS[name]
