"""The Parquet files of a gallery, with one row per image.

Columns: `id`, `content_sha256`, `width`, `height`, `indexed_at`, `extractors`, `payload` (JSON), `thumbnail` (a WebP
file) and `embedding` (D float32 numbers, unit length). Row groups are small, so that reading one takes little memory.
The files contain data only, no code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from aff_shared.errors import BackupDamagedError
from aff_shared.store.gallery_store import GalleryPoint, GalleryRecord
from gallery_indexer.collections.portable_manifest import Part

pa: Any = import_module("pyarrow")  # has no types
parquet: Any = import_module("pyarrow.parquet")

_LARGEST_GROUP_BYTES = 2**30
_UNIT_TOLERANCE = 1e-3


def require_whole(place: Path, part: Part) -> None:
    """Raise BackupDamagedError if the file of a part is missing or altered."""
    try:
        with (place / part.file).open("rb") as file:
            altered = hashlib.file_digest(file, "sha256").hexdigest() != part.sha256
    except OSError as error:
        raise BackupDamagedError(f"a part cannot be read: {error}", item=_named(place, part)) from error
    if altered:
        raise BackupDamagedError(
            "a part was altered: its SHA-256 differs from the manifest's", item=_named(place, part)
        )


class PartWriter:
    """Writes one part; the file has its final name when it is complete.

    Calls exclude each other, since the thread of a cancelled call may still be writing.

    Args:
        place: Directory of the collection; created if it is missing.
        number: Number of the part, from 0.
        dimension: Width of the embeddings, D.
    """

    def __init__(self, place: Path, number: int, dimension: int) -> None:
        self.count = 0
        self._busy = threading.Lock()
        self._path = place / f"part-{number:05}.parquet"
        self._partial = self._path.with_suffix(".partial")
        self._schema = _schema(dimension)
        place.mkdir(parents=True, exist_ok=True)
        self._file = self._partial.open("wb")
        self._writer = parquet.ParquetWriter(self._file, self._schema, compression="zstd", use_dictionary=False)

    @property
    def size_bytes(self) -> int:
        """Number of bytes written."""
        return self._file.tell()

    def write(self, points: Sequence[GalleryPoint], thumbnails: Mapping[str, bytes]) -> None:
        """Append points as a row group."""
        columns = _columns(points, thumbnails)
        arrays = [pa.array(values, self._schema.field(name).type) for name, values in columns.items()]
        numbers = pa.array(np.stack([point.embedding for point in points]).ravel(), pa.float32())
        arrays.append(pa.FixedSizeListArray.from_arrays(numbers, type=self._schema.field("embedding").type))
        with self._busy:
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self.count += len(points)

    def finish(self, following: str | None) -> Part:
        """Sync the file to disk and rename it to its final name."""
        with self._busy:
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        with self._partial.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = self._partial.stat().st_size
        self._partial.replace(self._path)
        return Part(file=self._path.name, count=self.count, size_bytes=size, sha256=digest, following=following)

    def close(self) -> None:
        """Close the file, also an unfinished one."""
        for open_file in (self._writer, self._file):
            with contextlib.suppress(OSError):  # the disk is full
                open_file.close()


def read_part(place: Path, part: Part, dimension: int) -> Iterator[list[GalleryPoint]]:
    """Yield the points of a part, a row group at a time.

    Raises:
        BackupDamagedError: The file is missing, or its columns, rows or values are invalid.
    """
    item = _named(place, part)
    try:
        with (place / part.file).open("rb") as opened:
            file = parquet.ParquetFile(opened)
            if not file.schema_arrow.equals(_schema(dimension)):
                raise BackupDamagedError(f"its columns are not those of embeddings of width {dimension}", item=item)
            if file.metadata.num_rows != part.count:
                raise BackupDamagedError(f"it has {file.metadata.num_rows} rows instead of {part.count}", item=item)
            for number in range(file.num_row_groups):
                if file.metadata.row_group(number).total_byte_size > _LARGEST_GROUP_BYTES:
                    raise BackupDamagedError("a row group is larger than any that this format writes", item=item)
                yield _points(file.read_row_group(number, use_threads=False), item)
    except (OSError, pa.ArrowException) as error:
        raise BackupDamagedError(f"a part cannot be read: {error}", item=item) from error


def _schema(dimension: int) -> Any:
    fields = {
        "id": pa.string(),
        "content_sha256": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "indexed_at": pa.timestamp("us", tz="UTC"),
        "extractors": pa.list_(pa.string()),
        "payload": pa.string(),
        "thumbnail": pa.binary(),
        "embedding": pa.list_(pa.float32(), dimension),
    }
    return pa.schema(list(fields.items()))


def _columns(points: Sequence[GalleryPoint], thumbnails: Mapping[str, bytes]) -> dict[str, list[Any]]:
    """Return all columns but the embedding's, in the schema's order."""
    records = [point.record for point in points]
    return {
        "id": [record.item_id for record in records],
        "content_sha256": [record.content_sha256 for record in records],
        "width": [record.width for record in records],
        "height": [record.height for record in records],
        "indexed_at": [record.indexed_at for record in records],
        "extractors": [record.extractors for record in records],
        "payload": [json.dumps(record.payload) for record in records],
        "thumbnail": [thumbnails.get(record.item_id) for record in records],
    }


def _points(table: Any, item: str) -> list[GalleryPoint]:
    """Return the points of a row group; raises BackupDamagedError if values are missing or invalid."""
    *columns, thumbnails = (table.column(name).to_pylist() for name in table.column_names[:-1])
    extractors = columns[5]
    if any(value is None for column in columns if column is not extractors for value in column):
        raise BackupDamagedError("a value is missing", item=item)
    records = (_record(*row, item=item) for row in zip(*columns, strict=True))
    embeddings = _embeddings(table.column("embedding").combine_chunks(), item)
    return list(map(GalleryPoint, records, embeddings, thumbnails))


def _record(
    item_id: str, sha256: str, width: int, height: int, at: Any, extractors: Any, payload: str, *, item: str
) -> GalleryRecord:
    try:
        read = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BackupDamagedError(f"the payload of {item_id!r} is not JSON: {error}", item=item) from error
    if not isinstance(read, dict):
        raise BackupDamagedError(f"the payload of {item_id!r} is not a JSON object", item=item)
    found_something = None if extractors is None else tuple(extractors)
    return GalleryRecord(item_id, sha256, width, height, at.astimezone(UTC), read, found_something)


def _embeddings(column: Any, item: str) -> Any:
    """Return the (N, D) float32 unit vectors of a column."""
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    if column.null_count or len(numbers) != len(column) * column.type.list_size:
        raise BackupDamagedError("an embedding is missing", item=item)
    embeddings = numbers.reshape(len(column), column.type.list_size)
    if not np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=_UNIT_TOLERANCE):  # also rejects NaN
        raise BackupDamagedError("an embedding is not of unit length", item=item)
    return embeddings


def _named(place: Path, part: Part) -> str:
    return f"{place.name}/{part.file}"
