"""Features that other programs computed, and files of a bundle's features in the same form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import FeaturesError, RankingsNotWrittenError
from aff_toolkit.evaluation.embeddings import SHARD_PHOTOGRAPHS, Chunk, Embeddings
from aff_toolkit.evaluation.evaluation_record import Similarity

# Vectors whose length differs by more from 1 are normalised; the rounding of float32 is within it.
_LENGTH_TOLERANCE = 1e-5
# Products of longer vectors overflow float32.
_LONGEST = math.sqrt(float(np.finfo(np.float32).max))
# Names of arrays in npz files, and of columns in Parquet files.
_FEATURES = ("features", "feature", "embeddings", "embedding", "vectors", "vector")
_NAMES = ("names", "name", "ids", "id", "paths", "path")
_FORMS = "is neither .npy nor .npz nor .parquet"


@dataclass(frozen=True, slots=True)
class GivenFeatures:
    """Features of N photographs, in their order.

    Attributes:
        array: (M, D) of a real dtype, memory-mapped if the file is an npy file.
        rows: (N,) int64 row of `array` of each photograph.
        normalised: Whether chunks contain the features divided by their lengths.
        unreadable: Reasons why photographs have no feature, by row: the feature is zero.
    """

    array: NDArray[Any]
    rows: NDArray[np.int64]
    normalised: bool = False
    unreadable: Mapping[int, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of photographs."""
        return len(self.rows)

    @property
    def dimension(self) -> int:
        """Dimension of the features."""
        return int(self.array.shape[1])

    def chunks(self) -> Iterator[Chunk]:
        """Yield the features as float32, in the chunks of a bundle's embeddings, so that the sums are the same."""
        for first in range(0, self.count, SHARD_PHOTOGRAPHS):
            rows = self.rows[first : first + SHARD_PHOTOGRAPHS]
            with np.errstate(over="ignore"):  # to infinity, which is rejected
                features = self.array[rows].astype(np.float32)
            readable = np.array([first + row not in self.unreadable for row in range(len(rows))], np.bool_)
            if self.normalised:
                lengths = _lengths(features)[:, None]
                features = (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)
            yield Chunk(first, features, readable)


def read_features(path: Path, photographs: Sequence[Photograph], similarity: Similarity) -> GivenFeatures:
    """Read the features of photographs, and check them.

    With the cosine similarity, a zero vector counts as a photograph that cannot be read, and features are normalised
    unless all of them have unit length.

    Args:
        path: `.npy` with the features (N, D), which is memory-mapped; or `.npz` or `.parquet` with an array or column
            `features` (or `embeddings`, `vectors`), and optionally `names` (or `ids`, `paths`). Without names, row i is
            the feature of photograph i; with names, each photograph has the row of its name, and further rows are
            ignored.
        photographs: N photographs.
        similarity: How the features are compared.

    Raises:
        FeaturesError: The file is missing or of another form, the number of rows is not N, a name is missing or
            repeated, a number is not finite, or inner products of such vectors are not finite.
    """
    array, names = _read_table(path)
    rows = _rows(array, names, [photograph.name for photograph in photographs], path)
    features = GivenFeatures(array, rows)
    zero: dict[int, str] = {}
    unit = True
    for chunk in features.chunks():
        lengths = _lengths(chunk.embeddings)
        longest = _LONGEST if similarity == "inner-product" else np.inf
        wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths < longest)))
        if len(wrong):
            row = chunk.first + int(wrong[0])
            fault = "a length whose square" if np.isfinite(lengths[wrong[0]]) else "a number that"
            detail = f"row {rows[row]} ({photographs[row].name}) has {fault} is not finite in float32"
            raise FeaturesError(detail, item=str(path))
        empty = np.flatnonzero(lengths == 0) + chunk.first
        zero |= {row: f"{photographs[row].name}: the feature is zero" for row in empty.tolist()}
        unit &= bool((abs(lengths[lengths > 0] - 1) <= _LENGTH_TOLERANCE).all())
    if similarity == "inner-product":
        return features
    return GivenFeatures(array, rows, normalised=not unit, unreadable=zero)


def _lengths(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the lengths of the rows; their squares may be beyond float32."""
    lengths: NDArray[np.float64] = np.linalg.norm(features.astype(np.float64), axis=1)
    return lengths


def _rows(array: NDArray[Any], names: Sequence[str] | None, wanted: Sequence[str], path: Path) -> NDArray[np.int64]:
    if names is None:
        if len(array) != len(wanted):
            detail = f"{len(array):,} rows, and the benchmark has {len(wanted):,} photographs; rows are in their order"
            raise FeaturesError(detail, item=str(path))
        return np.arange(len(wanted), dtype=np.int64)
    place = {name: row for row, name in enumerate(names)}
    if len(place) != len(names):
        twice = next(name for row, name in enumerate(names) if place[name] != row)
        raise FeaturesError(f"contains the name {twice!r} twice", item=str(path))
    missing = [name for name in wanted if name not in place]
    if missing:
        detail = f"{len(missing):,} of the benchmark's {len(wanted):,} names are missing, the first: {missing[0]!r}"
        raise FeaturesError(detail, item=str(path))
    return np.array([place[name] for name in wanted], np.int64)


def save_features(embeddings: Embeddings, dimension: int, path: Path) -> None:
    """Write embeddings as an npy file, (N, D) float32; the row of an unreadable photograph is zero.

    Raises:
        RankingsNotWrittenError: The disk is full or not writable.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (embeddings.count, dimension)
        array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        for chunk in embeddings.chunks():
            array[chunk.first : chunk.first + len(chunk.embeddings)] = chunk.embeddings
        array.flush()
        partial.rename(path)
    except OSError as error:
        raise RankingsNotWrittenError(str(error.strerror), item=str(path)) from error


def save_names(photographs: Sequence[Photograph], path: Path) -> None:
    """Write the names of photographs, one per line, in the order of the rows of their features.

    Raises:
        RankingsNotWrittenError: The disk is full or not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{photograph.name}\n" for photograph in photographs), encoding="utf-8")
    except OSError as error:
        raise RankingsNotWrittenError(str(error.strerror), item=str(path)) from error


_Table = tuple[NDArray[Any], list[str] | None]


def _read_table(path: Path) -> _Table:
    """Return the features (M, D) of a file, and the names of the rows if it has any."""
    readers = {".npy": _read_npy, ".npz": _read_npz, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise FeaturesError(_FORMS, item=str(path))
    try:
        array, names = reader(path)
    except FeaturesError as error:
        raise FeaturesError(error.detail, item=str(path)) from error
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:  # pyarrow's are of these too
        raise FeaturesError(f"cannot be read: {error}", item=str(path)) from error
    if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in "fiu":  # noqa: PLR2004 - a matrix
        detail = f"contains {array.dtype} of the shape {array.shape}, not numbers of the shape (photographs, dimension)"
        raise FeaturesError(detail, item=str(path))
    if names is not None and len(names) != len(array):
        raise FeaturesError(f"{len(names):,} names for {len(array):,} features", item=str(path))
    return array, names


def _read_npy(path: Path) -> _Table:
    return np.lib.format.open_memmap(path, mode="r"), None  # has no objects; np.load advises to trust pickles


def _read_npz(path: Path) -> _Table:
    ZipFile(path).close()  # np.load would take another file for a pickle
    with np.load(path, allow_pickle=False) as arrays:
        features, names = _one_of(arrays.files, _FEATURES), _one_of(arrays.files, _NAMES)
        if features is None:
            raise FeaturesError(f"has no array {' or '.join(_FEATURES)}: {', '.join(arrays.files)}")
        return arrays[features], None if names is None else [_text(name) for name in arrays[names].ravel()]


def _read_parquet(path: Path) -> _Table:
    from pyarrow import parquet  # noqa: PLC0415 - takes 0.2 s

    file = parquet.ParquetFile(path)
    features, names = _one_of(file.schema_arrow.names, _FEATURES), _one_of(file.schema_arrow.names, _NAMES)
    if features is None:
        raise FeaturesError(f"has no column {' or '.join(_FEATURES)}: {', '.join(file.schema_arrow.names)}")
    table = file.read(columns=[features] if names is None else [features, names])
    lists = table.column(features).to_numpy(zero_copy_only=False)
    if any(not isinstance(one, np.ndarray) or len(one) != len(lists[0]) for one in lists):
        raise FeaturesError(f"column {features}: not every row has a list of the same length")
    array = np.stack(lists) if len(lists) else np.zeros((0, 1), np.float32)
    return array, None if names is None else [_text(name) for name in table.column(names).to_pylist()]


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _one_of(present: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in present), None)
