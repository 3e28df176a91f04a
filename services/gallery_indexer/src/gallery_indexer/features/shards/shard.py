"""One file of a feature store: written completely or not at all, and read as a memory map."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from gallery_indexer.features.shards.store_errors import FeatureShardError, FeatureStoreNotWrittenError

Arrays = Mapping[str, NDArray[Any]]

_DTYPES = {"U8": np.uint8, "F16": np.float16, "F32": np.float32, "I64": np.int64, "BOOL": np.bool_}
_HEADER_LENGTH_BYTES = 8
_PARTIAL = ".partial"


def shard_path(directory: Path, number: int) -> Path:
    """Return the path of a shard."""
    return directory / f"shard-{number:05d}.safetensors"


def write_shard(path: Path, arrays: Arrays, unreadable: Mapping[int, str]) -> None:
    """Write a shard, and a note with its size, its sha256 and the reasons of missing photographs.

    Args:
        path: Path of the shard.
        arrays: Its arrays by name.
        unreadable: Reasons of missing photographs, by row of the store.

    Raises:
        FeatureStoreNotWrittenError: The disk is full, or a write failed; the partial file is removed.
    """
    partial = path.with_name(path.name + _PARTIAL)
    try:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, partial)
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        note = {"size_bytes": partial.stat().st_size, "sha256": _sha256(partial), "unreadable": unreadable}
        partial.rename(path)
        partial.write_text(json.dumps(note), encoding="utf-8")
        partial.rename(_note_path(path))
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        size = sum(array.nbytes for array in arrays.values())
        raise FeatureStoreNotWrittenError(
            f"{error}; the shard needs {size / 1e6:.1f} MB. Make room and start again: finished shards are kept",
            item=str(path),
        ) from error


def check_shard(path: Path, *, verify: bool) -> None:
    """Check that a shard is as it was written.

    Args:
        path: Path of the shard.
        verify: Whether to compare the sha256, too, which reads the whole file.

    Raises:
        FeatureShardError: The shard or its note is missing or altered.
    """
    advice = "run the extraction again: it writes this shard only"
    note = _read_note(path)
    if note is None or not path.exists():
        raise FeatureShardError(f"missing, or without its note; {advice}", item=str(path))
    if path.stat().st_size != note["size_bytes"] or (verify and _sha256(path) != note["sha256"]):
        raise FeatureShardError(f"altered since it was written; {advice}", item=str(path))


def unreadable_of(path: Path) -> dict[int, str]:
    """Return the reasons of photographs missing from a checked shard, by row of the store."""
    note = _read_note(path) or {"unreadable": {}}
    return {int(row): str(reason) for row, reason in note["unreadable"].items()}


def map_shard(path: Path) -> dict[str, NDArray[Any]]:
    """Map the arrays of a checked shard into memory; data is read on access.

    Raises:
        FeatureShardError: The file is missing or not a shard.
    """
    try:
        content = np.memmap(path, dtype=np.uint8, mode="r")
        start = _HEADER_LENGTH_BYTES + int(content[:_HEADER_LENGTH_BYTES].view("<u8")[0])
        header = json.loads(content[_HEADER_LENGTH_BYTES:start].tobytes())
        header.pop("__metadata__", None)
        return {
            name: content[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]]
            .view(_DTYPES[entry["dtype"]])
            .reshape(entry["shape"])
            for name, entry in header.items()
        }
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise FeatureShardError(f"cannot be read: {error}", item=str(path)) from error


def _note_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_note(path: Path) -> dict[str, Any] | None:
    try:
        note = json.loads(_note_path(path).read_text(encoding="utf-8"))
        return {name: note[name] for name in ("size_bytes", "sha256", "unreadable")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
