"""Tables of vectors that another tool made: Parquet, or npy with a second file of ids and payloads.

Rows are read in chunks, so that memory does not depend on their number. Several files are read in the order of the
numbers in their names, as one table.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aff_toolkit.indexing.source_item import SourceError, reading
from aff_toolkit.indexing.vector_files import array_of, files_of, matrices, row_files

pa: Any = import_module("pyarrow")  # has no types
parquet: Any = import_module("pyarrow.parquet")

_ROWS_AT_A_TIME = 1024
_BUFFER_BYTES = 2**20

Row = Mapping[str, Any]
Vectors = NDArray[np.float32]


class VectorTable(Protocol):
    """Vectors with an id and other values each.

    Attributes:
        count: Number of rows.
        dimension: Width of the vectors, D.
        files: The files, in order.
        columns: Names of the columns of ids and vectors.
    """

    count: int
    dimension: int
    files: Sequence[Path]
    columns: Sequence[str]

    def ids(self) -> Iterator[Any]:
        """Yield the id of each row; None if it has none."""
        ...

    def chunks(self, size: int) -> Iterator[tuple[list[Row], Vectors]]:
        """Yield rows and their vectors, (n, D) float32, at most `size` at a time; a missing vector is NaN."""
        ...


def open_vectors(path: Path, *, rows: Path | None, id_column: str, vector_column: str) -> VectorTable:
    """Open a table of vectors.

    Args:
        path: A Parquet or npy file, or a directory of such files of one kind.
        rows: For npy, the file or directory of ids and payloads: text (an id a line), npy, JSON Lines or Parquet. None
            means those next to the vectors.
        id_column: Column or field of the id.
        vector_column: Column of the vectors in Parquet.

    Raises:
        SourceError: The files cannot be read, are of several kinds or widths, or the numbers of rows differ.
    """
    if not path.exists():
        raise SourceError("there is no such file", item=str(path))
    with reading(str(path)):
        arrays = matrices(path)
        if (files := files_of(path, ".parquet")) and not arrays:
            if rows is not None:
                raise SourceError("Parquet has ids and vectors in one file: leave out --ids", item=str(path))
            return _ParquetVectors(files, id_column, vector_column)
        if not arrays:
            raise SourceError("has neither a Parquet file nor an npy file of vectors (N, D)", item=str(path))
        found = row_files(path if rows is None else rows, [file for file, _ in arrays])
        return _NpyVectors(arrays, found, id_column)


class _ParquetVectors:
    """Vectors in a column of Parquet files."""

    def __init__(self, files: Sequence[Path], id_column: str, vector_column: str) -> None:
        self.files = files
        self.columns: Sequence[str] = (id_column, vector_column)
        self._id, self._vector = id_column, vector_column
        self.count, widths = 0, []
        for file in files:
            with _opened(file) as table:
                for column in (id_column, vector_column):
                    if column not in table.schema_arrow.names:
                        names = ", ".join(table.schema_arrow.names)
                        option = "--id-column" if column == id_column else "--embedding-column"
                        raise SourceError(f"has no column {column!r} ({option}), but {names}", item=str(file))
                self.count += table.metadata.num_rows
                widths.append(_width(table, file, vector_column))
        self.dimension = _one_width([width for width in widths if width], files)

    def ids(self) -> Iterator[Any]:
        """See VectorTable."""
        for batch in self._batches(_ROWS_AT_A_TIME, [self._id]):
            yield from batch.column(0).to_pylist()

    def chunks(self, size: int) -> Iterator[tuple[list[Row], Vectors]]:
        """See VectorTable."""
        for batch in self._batches(size, None):
            vectors = _stacked(batch.column(self._vector), self.dimension)
            rows = batch.drop_columns([self._vector]).to_pylist()
            yield [_named_id(row, self._id) for row in rows], vectors

    def _batches(self, size: int, columns: list[str] | None) -> Iterator[Any]:
        for file in self.files:
            with reading(str(file)), _opened(file) as table:
                yield from table.iter_batches(size, columns=columns, use_threads=False)


def _opened(file: Path) -> Any:
    """Open a Parquet file; without a buffer's size, a whole row group, which may be the whole file, is read at once."""
    return parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)


def _width(table: Any, file: Path, column: str) -> int | None:
    """Return the length that most of the first vectors have; None if there is none."""
    kind = table.schema_arrow.field(column).type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)) or not (
        pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    ):
        raise SourceError(f"column {column!r} has the type {kind} instead of lists of numbers", item=str(file))
    for batch in table.iter_batches(_ROWS_AT_A_TIME, columns=[column], use_threads=False):
        lengths = Counter(len(value) for value in batch.column(0) if value.is_valid and len(value))
        if lengths:
            return lengths.most_common(1)[0][0]
    return None


def _stacked(column: Any, dimension: int) -> Vectors:
    """Return a column of lists as (n, D) float32; rows of another length, or without one, are NaN."""
    lengths = (
        None if pa.types.is_fixed_size_list(column.type) else column.value_lengths().to_numpy(zero_copy_only=False)
    )
    with np.errstate(over="ignore"):
        numbers: Vectors = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    if column.null_count == 0 and (lengths is None or (lengths == dimension).all()):
        return numbers.reshape(len(column), dimension)
    stacked = np.full((len(column), dimension), np.nan, np.float32)
    for place, value in enumerate(column.to_pylist()):
        if value is not None and len(value) == dimension:
            stacked[place] = [np.nan if number is None else number for number in value]
    return stacked


class _NpyVectors:
    """Vectors in npy files, with rows in other files."""

    def __init__(self, matrices: Sequence[tuple[Path, NDArray[Any]]], rows: Sequence[Path], id_column: str) -> None:
        self.files: Sequence[Path] = [*(file for file, _ in matrices), *rows]
        self._matrices = [(file, array.shape) for file, array in matrices]
        self._rows = rows
        self._id = id_column
        self.columns: Sequence[str] = (id_column,)
        self.count = sum(rows for _, (rows, _) in self._matrices)
        self.dimension = _one_width([width for _, (_, width) in self._matrices], self.files)
        for file, array in matrices:
            if array.dtype.kind not in "fiu":
                raise SourceError(f"has {array.dtype} instead of numbers", item=str(file))
        if not self.count:
            raise SourceError("has no vectors", item=str(matrices[0][0]))
        if (found := sum(1 for _ in self.ids())) != self.count:
            detail = f"has {found} rows for {self.count} vectors; both have to be in the same order"
            raise SourceError(detail, item=str(rows[0]))

    def ids(self) -> Iterator[Any]:
        """See VectorTable."""
        return (row.get("id") for row in self._read_rows(only_ids=True))

    def chunks(self, size: int) -> Iterator[tuple[list[Row], Vectors]]:
        """See VectorTable."""
        rows = self._read_rows()
        for file, shape in self._matrices:
            for start in range(0, shape[0], size):
                # Opened for each chunk: pages of a file that stays mapped count as memory of the process.
                mapped = np.load(file, mmap_mode="r", allow_pickle=False)
                with np.errstate(over="ignore"):
                    part = np.array(mapped[start : start + size], dtype=np.float32)
                del mapped
                yield [next(rows) for _ in part], part

    def _read_rows(self, *, only_ids: bool = False) -> Iterator[Row]:
        for file in self._rows:
            with reading(str(file)):
                for row in _rows_of(file, [self._id] if only_ids else None):
                    yield _named_id(row, self._id)


def _rows_of(file: Path, columns: list[str] | None) -> Iterator[Row]:
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        with _opened(file) as table:
            for batch in table.iter_batches(_ROWS_AT_A_TIME, columns=columns, use_threads=False):
                yield from batch.to_pylist()
    elif suffix == ".npy":
        for value in np.atleast_1d(array_of(file)):
            yield {(columns or ["id"])[0]: value.item(), "id": value.item()}
    else:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if suffix == ".txt":
                    yield {"id": line.rstrip("\r\n")}
                elif line.strip():
                    yield _parsed(line, file, number)


def _parsed(line: str, file: Path, number: int) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"line {number} is not JSON: {error}", item=str(file)) from error
    if not isinstance(row, dict):
        raise SourceError(f"line {number} is not a JSON object", item=str(file))
    return row


def _named_id(row: Row, column: str) -> Row:
    """Return a row whose id is called `id`."""
    if column == "id" or column not in row:
        return row
    return {**{name: value for name, value in row.items() if name != column}, "id": row[column]}


def _one_width(widths: Sequence[int], files: Sequence[Path]) -> int:
    if not widths:
        raise SourceError("has no vectors", item=str(files[0]))
    if len(set(widths)) > 1:
        raise SourceError(f"vectors of {' and '.join(map(str, sorted(set(widths))))} numbers", item=str(files[0]))
    return widths[0]
