"""Files with features of images, written by trainings and by the indexer; each is written completely or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from aff_shared.bundles.bundle import FeatureSpec
from aff_shared.errors import AffError
from gallery_indexer.features.extractors.extractor import FeatureBatch

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


class FeatureStoreError(AffError):
    """The directory has no finished feature store of this release."""

    code = "feature_store_unusable"
    title = "Unusable feature store"


class FeatureStoreMismatchError(FeatureStoreError):
    """The directory has features of other extractors, photographs or settings."""

    code = "feature_store_mismatch"
    status = 409
    title = "Feature store mismatch"


class FeatureShardError(FeatureStoreError):
    """A shard is missing or altered."""

    code = "feature_shard_damaged"
    title = "Missing or altered feature shard"


class FeatureStoreNotWrittenError(FeatureStoreError):
    """A shard could not be written."""

    code = "feature_store_not_written"
    status = 507
    title = "Feature store not written"


class FeatureNotFiniteError(FeatureStoreError):
    """An extractor returned NaN, infinity, or a value beyond float16."""

    code = "feature_not_finite"
    title = "Feature is not finite"


class ShardBuilder:
    """The arrays of one shard: pixels, global features, and local tokens end to end with their offsets."""

    def __init__(self, rows: range, features: Sequence[FeatureSpec], copies: int, pixel_size: int | None) -> None:
        self._first = rows.start
        self._features = features
        self._copies = copies
        self._readable = np.zeros(len(rows), dtype=np.bool_)
        self._pixels = None
        if pixel_size is not None:
            self._pixels = np.zeros((len(rows), pixel_size, pixel_size, 3), dtype=np.uint8)
        self._whole = {
            feature.name: np.zeros((len(rows), copies, feature.dimension), dtype=np.float16)
            for feature in features
            if feature.kind == "global"
        }
        self._tokens: dict[tuple[str, int, int], tuple[NDArray[np.float16], NDArray[np.float16]]] = {}
        self.unreadable: dict[int, str] = {}

    def add_unreadable(self, row: int, reason: str) -> None:
        """Record why a row of the store is empty."""
        self.unreadable[row] = reason

    def add_pixels(self, row: int, pixels: NDArray[np.uint8] | None) -> None:
        """Add a readable photograph."""
        self._readable[row - self._first] = True
        if self._pixels is not None and pixels is not None:
            self._pixels[row - self._first] = pixels

    def add_features(
        self, rows: Sequence[int], names: Sequence[str], copy: int, found: Mapping[str, FeatureBatch]
    ) -> None:
        """Add features of photographs.

        Args:
            rows: Rows of the store.
            names: Names of the photographs, for errors.
            copy: Index of the augmented copy.
            found: Features of the photographs, by name.

        Raises:
            FeatureNotFiniteError: A value is NaN, infinite or beyond float16; has the photograph's name.
        """
        for feature in self._features:
            batch = found[feature.name]
            with np.errstate(over="ignore"):
                values = batch.values.cpu().numpy().astype(np.float16)
            finite = np.isfinite(values).all(axis=(1, 2))
            if not finite.all():
                name = names[int(np.flatnonzero(~finite)[0])]
                raise FeatureNotFiniteError(f"{feature.name} is not finite in float16", item=name)
            if feature.kind == "global":
                self._whole[feature.name][[row - self._first for row in rows], copy] = values[:, 0]
            else:
                self._add_tokens(feature.name, rows, copy, batch, values)

    def _add_tokens(
        self, name: str, rows: Sequence[int], copy: int, batch: FeatureBatch, values: NDArray[np.float16]
    ) -> None:
        mask = batch.mask.cpu().numpy()
        positions = np.zeros((*mask.shape, 2), dtype=np.float16)
        if batch.positions is not None:
            positions = batch.positions.cpu().numpy().astype(np.float16)
        for place, row in enumerate(rows):
            kept = mask[place]
            self._tokens[name, row - self._first, copy] = values[place][kept], positions[place][kept]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the shard's arrays by name."""
        arrays: dict[str, NDArray[Any]] = {"readable": self._readable, **self._whole}
        if self._pixels is not None:
            arrays["pixels"] = self._pixels
        for feature in self._features:
            if feature.kind == "local":
                arrays |= self._local_arrays(feature)
        return arrays

    def _local_arrays(self, feature: FeatureSpec) -> dict[str, NDArray[Any]]:
        nothing = (np.zeros((0, feature.dimension), np.float16), np.zeros((0, 2), np.float16))
        entries = [
            self._tokens.get((feature.name, row, copy), nothing)
            for row in range(len(self._readable))
            for copy in range(self._copies)
        ]
        offsets = np.cumsum([0, *(len(values) for values, _ in entries)], dtype=np.int64)
        return {
            f"{feature.name}.values": np.concatenate([values for values, _ in entries]),
            f"{feature.name}.positions": np.concatenate([positions for _, positions in entries]),
            f"{feature.name}.offsets": offsets,
        }
