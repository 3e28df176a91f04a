"""Makes a gallery of vectors that another tool computed, and writes the vectors of a gallery for other tools."""

from __future__ import annotations

import array
import asyncio
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aff_shared.errors import BackupError, InvalidItemsError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_catalogue import Collection, GalleryCatalogue, live_one
from aff_shared.store.gallery_store import GalleryPoint, GalleryStore
from aff_shared.store.retry import retry_for
from aff_toolkit.indexing.source_item import SourceError
from aff_toolkit.indexing.vector_rows import id_text, normalised, point_of, require_usable_id
from aff_toolkit.indexing.vector_tables import VectorTable
from gallery_indexer.collections.backup_gallery import replace_gallery
from gallery_indexer.collections.export_gallery import STORE_WAIT_S, ImageCounter, page_size
from gallery_indexer.indexing.payload_limits import PayloadLimits

_KEPT_REJECTIONS = 1000
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that cannot be used.

    Attributes:
        row: Number of the row in the table, from 1.
        id: Its id as text; empty if it has none.
        reason: Why it cannot be used.
    """

    row: int
    id: str
    reason: str


@dataclass(slots=True)
class ImportedRows:
    """Result of an import.

    Attributes:
        count: Number of images in the gallery.
        rejected: Number of rejected rows.
        rejected_rows: The first 1,000 of them.
    """

    count: int = 0
    rejected: int = 0
    rejected_rows: list[RejectedRow] = field(default_factory=list)

    def reject(self, row: int, item_id: str, reason: str) -> None:
        """Count a rejected row."""
        self.rejected += 1
        if len(self.rejected_rows) < _KEPT_REJECTIONS:
            self.rejected_rows.append(RejectedRow(row, item_id[:_SHOWN_CHARACTERS], reason))


async def import_vectors(
    catalogue: GalleryCatalogue,
    table: VectorTable,
    space: EmbeddingSpace,
    limits: PayloadLimits,
    progress: ImageCounter,
) -> ImportedRows:
    """Replace the gallery by the rows of a table.

    Vectors are normalised. Of rows with the same id, the first one counts. Unusable rows are rejected alone. The new
    collection is filled next to the present ones and read back before it replaces them; an interrupted import is
    resumed when it is repeated.

    Args:
        catalogue: The collections.
        table: The rows.
        space: Embedding space of the vectors.
        limits: Limits of payloads.
        progress: Counts the images.

    Raises:
        SourceError: The table has another width than the space, cannot be read, or has no usable row.
        BackupError: The store does not return the written images; the gallery is unchanged.
        StoreError: The store failed; the gallery is unchanged.
    """
    require_width(table, space)
    name = table.files[0].name
    progress.expect(table.count)
    imported = ImportedRows()
    pages = _Pages(table, limits, imported).read()
    now = datetime.now(UTC)
    filled = [(Collection(space, live=True, live_since=now), pages)]
    await replace_gallery(catalogue, _key(table, space), filled, name, progress)
    return imported


def require_width(table: VectorTable, space: EmbeddingSpace) -> None:
    """Raise SourceError if vectors are not of the width of their space."""
    if table.dimension != space.dimension:
        detail = f"vectors of {table.dimension} numbers; the embedding space has {space.dimension}"
        raise SourceError(detail, item=table.files[0].name)


def _key(table: VectorTable, space: EmbeddingSpace) -> str:
    """Return 64 hex digits that identify these files, as they are read, in this space."""
    described = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in table.files]
    return hashlib.sha256(json.dumps([space.id, *table.columns, described]).encode()).hexdigest()


class _Pages:
    """Reads a table as pages of points."""

    def __init__(self, table: VectorTable, limits: PayloadLimits, imported: ImportedRows) -> None:
        self._table = table
        self._limits = limits
        self._imported = imported
        self._indexed_at = datetime.fromtimestamp(max(file.stat().st_mtime for file in table.files), UTC)

    def read(self) -> Iterator[list[GalleryPoint]]:
        """Yield points, at most a page at a time; raises SourceError if there are none."""
        repeated = _repeated_hashes(self._table)
        seen: dict[str, int] = {}
        first = 1
        for rows, vectors in self._table.chunks(page_size(self._table.dimension)):
            points = []
            units, faults = normalised(vectors)
            for number, (row, unit, fault) in enumerate(zip(rows, units, faults, strict=True), start=first):
                item_id = id_text(row.get("id"))
                try:
                    require_usable_id(item_id, row.get("id"))
                    if fault:
                        raise ValueError(fault)
                    if _hash(item_id) in repeated and seen.setdefault(item_id, number) != number:
                        raise ValueError(f"row {seen[item_id]} has the same id")
                    points.append(point_of(item_id, row, unit, self._indexed_at, self._limits))
                except (ValueError, InvalidItemsError) as error:
                    self._imported.reject(number, item_id, getattr(error, "detail", str(error)))
            first += len(rows)
            self._imported.count += len(points)
            if points:
                yield points
        if not self._imported.count:
            rejected = self._imported.rejected_rows[0]
            detail = f"no row can be used; row {rejected.row}: {rejected.reason}"
            raise SourceError(detail, item=self._table.files[0].name)


def _repeated_hashes(table: VectorTable) -> set[int]:
    """Return the hashes of ids that several rows may have, with 8 bytes of memory per row."""
    hashes = array.array("q", (_hash(id_text(item_id)) for item_id in table.ids()))
    found = np.sort(np.frombuffer(hashes, np.int64)) if hashes else np.empty(0, np.int64)
    return set(found[1:][found[1:] == found[:-1]].tolist())


def _hash(item_id: str) -> int:
    digest = hashlib.blake2b(item_id.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


async def export_vectors(catalogue: GalleryCatalogue, directory: Path, progress: ImageCounter) -> int:
    """Write the live collection as `embeddings.npy` (N, D) float32 and `rows.jsonl`; return the number of images.

    A line has the fields of a record: id, content_sha256, width, height, indexed_at, extractors, payload. Thumbnails
    are left out.

    Args:
        catalogue: The collections.
        directory: The new directory, which has this name when it is complete.
        progress: Counts the images.

    Raises:
        BackupError: The directory exists already, or cannot be written.
        GalleryMissingError: No collection is live.
        StoreError: The store failed.
    """
    if await asyncio.to_thread(directory.exists):
        raise BackupError("a directory, or another file, of that name exists already", item=directory.name)
    live = live_one(await catalogue.collections())
    store = await catalogue.collection(live.space)
    progress.expect(await store.count())
    unfinished = directory.with_name(f".{directory.name}.partial")
    try:
        await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
        await asyncio.to_thread(unfinished.mkdir, parents=True)
        count = await _write(store, live.space.dimension, unfinished, progress)
        await asyncio.to_thread(unfinished.rename, directory)
    except OSError as error:
        raise BackupError(f"cannot be written: {error}", item=directory.name) from error
    return count


async def _write(store: GalleryStore, dimension: int, place: Path, progress: ImageCounter) -> int:
    count, cursor = 0, None
    with (place / "embeddings.npy").open("wb") as vectors, (place / "rows.jsonl").open("w", encoding="utf-8") as rows:
        _write_header(vectors, count, dimension)
        while True:
            at = cursor
            page = await retry_for(
                lambda at=at: store.scroll(limit=page_size(dimension), cursor=at),  # type: ignore[misc]
                wait_s=STORE_WAIT_S,
            )
            for point in page.points:
                vectors.write(np.ascontiguousarray(point.embedding, "<f4").tobytes())
                rows.write(point.record.described().model_dump_json() + "\n")
            count, cursor = count + len(page.points), page.cursor
            progress.advance(len(page.points))
            if cursor is None:
                vectors.seek(0)
                _write_header(vectors, count, dimension)  # NumPy pads the header, so that the count may grow
                return count


def _write_header(file: BinaryIO, count: int, dimension: int) -> None:
    described = {"descr": "<f4", "fortran_order": False, "shape": (count, dimension)}
    np.lib.format.write_array_header_1_0(file, described)
