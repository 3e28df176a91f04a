"""Backups of a gallery in the operator's directory."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from aff_shared.errors import BackupError
from aff_shared.schemas.gallery import Backup
from aff_shared.schemas.payload_schema import PayloadType
from aff_shared.store.gallery_catalogue import Collection, GalleryCatalogue
from aff_shared.store.gallery_store import GalleryPoint, GalleryStore
from aff_shared.store.retry import retry_for
from gallery_indexer.collections.export_gallery import RESUMABLE, STORE_WAIT_S, ImageCounter, export_gallery
from gallery_indexer.collections.gallery_jobs import JobProgress, Work
from gallery_indexer.collections.index_collections import IndexCollections
from gallery_indexer.collections.portable_manifest import MANIFEST, Manifest, PortableCollection, key_of, read_manifest
from gallery_indexer.collections.portable_parts import read_part, require_whole
from gallery_indexer.indexing.payload_limits import same_payload

_logger = logging.getLogger(__name__)


class BackupGallery:
    """Creates, lists and restores backups; creation and restoration are jobs.

    Args:
        catalogue: The collections.
        collections: Reopened after a restoration.
        root: Directory of the backups; None if the operator has not configured one.
        payload_schema: Types of payload keys that filters use.
    """

    def __init__(
        self,
        catalogue: GalleryCatalogue,
        collections: IndexCollections,
        root: Path | None,
        payload_schema: Mapping[str, PayloadType],
    ) -> None:
        self._catalogue = catalogue
        self._collections = collections
        self._root = root
        self._payload_schema = payload_schema

    async def prepare_backup(self, name: str) -> Work:
        """Return the job that writes all collections into a new backup, completely or not at all.

        Raises:
            BackupError: A backup of that name exists, or there is no directory for backups.
        """
        directory = self._directory(name)
        if await asyncio.to_thread(directory.exists):
            raise BackupError("a backup of that name exists already", item=name)
        return partial(self._back_up, name)

    async def backups(self) -> list[Backup]:
        """Return the readable backups, the newest first; raises BackupError without a directory for them."""
        found = await asyncio.to_thread(self._read_all)
        return sorted(found, key=lambda backup: backup.created_at, reverse=True)

    async def prepare_restoration(self, name: str, *, force: bool) -> Work:
        """Return the job that replaces the gallery with a backup, of any store.

        Raises:
            BackupNotFoundError: There is no backup of that name.
            BackupError: It is damaged or of another release, or the gallery has images and `force` is not set.
            StoreError: The store failed.
        """
        await asyncio.to_thread(read_manifest, self._directory(name))
        if not force:
            await require_replaceable(self._catalogue, name)
        return partial(self._restore, name)

    async def _back_up(self, name: str, progress: JobProgress) -> None:
        await asyncio.to_thread(self._remove_abandoned)
        manifest = await export_gallery(self._catalogue, self._directory(name), progress, self._payload_schema)
        progress.note(manifest.described(name))

    async def _restore(self, name: str, progress: JobProgress) -> None:
        await import_gallery(self._catalogue, self._directory(name), progress)
        await self._collections.reopen()

    def _directory(self, name: str) -> Path:
        if self._root is None:
            raise BackupError("this service has no directory for backups (AFF_INDEX_BACKUPS_PATH)")
        return self._root / name

    def _remove_abandoned(self) -> None:
        """Remove partial backups that were interrupted too long ago to be resumed."""
        for path in self._directory(".").glob(".*.partial"):
            if time.time() - path.stat().st_mtime > RESUMABLE.total_seconds():
                shutil.rmtree(path, ignore_errors=True)

    def _read_all(self) -> list[Backup]:
        backups = []
        for path in self._directory(".").glob(f"[!.]*/{MANIFEST}"):
            try:
                backups.append(read_manifest(path.parent).described(path.parent.name))
            except BackupError as error:
                _logger.warning("skipping a backup: %s", error)
        return backups


_EMBEDDING_TOLERANCE = 1e-5  # stores may normalise vectors again
_WRITES = 3  # attempts for an image that a node of a cluster does not return yet


async def import_gallery(catalogue: GalleryCatalogue, directory: Path, progress: ImageCounter) -> Manifest:
    """Replace all collections by those in a directory.

    New collections are filled, every image is read back and compared, and then they replace the present ones
    atomically. Until then searches use the present ones. An interrupted restoration is resumed when it is repeated.

    Args:
        catalogue: The collections.
        directory: A directory that `export_gallery` wrote.
        progress: Counts the images.

    Raises:
        BackupNotFoundError: There is no such directory.
        BackupDamagedError: A file is missing or altered.
        BackupError: It is of another release, or the store does not return the written images; the gallery is
            unchanged.
        StoreError: The store failed; the gallery is unchanged.
    """
    manifest = await asyncio.to_thread(read_manifest, directory)
    progress.expect(manifest.count)
    for collection in manifest.collections:
        for part in collection.parts:
            await asyncio.to_thread(require_whole, collection.place(directory), part)
    key = await asyncio.to_thread(key_of, directory)
    filled = [
        (Collection(one.space, one.live, one.live_since), _points_of(one, directory)) for one in manifest.collections
    ]
    await replace_gallery(catalogue, key, filled, directory.name, progress)
    return manifest


def _points_of(collection: PortableCollection, directory: Path) -> Iterator[list[GalleryPoint]]:
    for part in collection.parts:
        yield from read_part(collection.place(directory), part, collection.space.dimension)


async def replace_gallery(
    catalogue: GalleryCatalogue,
    key: str,
    collections: Sequence[tuple[Collection, Iterator[list[GalleryPoint]]]],
    name: str,
    progress: ImageCounter,
) -> None:
    """Replace all collections by new ones, once every image was written and read back.

    Args:
        catalogue: The collections.
        key: Hex digits that identify the new ones; an interrupted replacement of the same key is resumed.
        collections: Description and pages of points of each new collection; pages are read in a thread.
        name: Name of their source, for errors.
        progress: Counts the images.

    Raises:
        BackupError: A file cannot be read, or the store does not return the written images.
        StoreError: The store failed.
    """
    try:
        restoration = await catalogue.restoration(key)
        try:
            for collection, pages in collections:
                store = await restoration.create(collection.space)
                await store.index_payload()
                await _Filling(store, pages, name, progress).run()
            await restoration.take_place([collection for collection, _ in collections])
        finally:
            await restoration.close()
    except OSError as error:
        raise BackupError(f"cannot be restored: {error}", item=name) from error


async def require_replaceable(catalogue: GalleryCatalogue, name: str) -> None:
    """Raise BackupError if the gallery has images."""
    for collection in await catalogue.collections():
        if count := await (await catalogue.collection(collection.space)).count():
            raise BackupError(f"the gallery has {count} images, which it would replace; set `force`", item=name)


@dataclass(frozen=True, slots=True)
class _Filling:
    """Fills one collection and compares its images."""

    store: GalleryStore
    pages: Iterator[list[GalleryPoint]]
    name: str
    progress: ImageCounter

    async def run(self) -> None:
        """Write the missing images; raises as `replace_gallery`."""
        resumed, written = await self.store.count() > 0, 0
        while (points := await asyncio.to_thread(next, self.pages, None)) is not None:
            await self._fill(points, resumed=resumed)
            self.progress.advance(len(points))
            written += len(points)
        if (count := await self.store.count()) != written:
            detail = f"the store has {count} images instead of {written}"
            raise BackupError(detail, item=self.name)

    async def _fill(self, points: Sequence[GalleryPoint], *, resumed: bool) -> None:
        lacking = await self._different(points) if resumed else points
        for _ in range(_WRITES):
            if not lacking:
                return
            await retry_for(partial(self.store.upsert, lacking), wait_s=STORE_WAIT_S)
            lacking = await self._different(lacking)
        if lacking:
            detail = f"the store does not return {lacking[0].record.item_id!r} as it was written"
            raise BackupError(detail, item=self.name)

    async def _different(self, points: Sequence[GalleryPoint]) -> list[GalleryPoint]:
        """Return those points that are missing from the store or differ there."""
        ids = [point.record.item_id for point in points]
        found = await retry_for(lambda: self.store.fetch(ids), wait_s=STORE_WAIT_S)
        thumbnails = await retry_for(lambda: self.store.thumbnails(ids), wait_s=STORE_WAIT_S)
        return [
            point
            for point in points
            if not _same(point, found.get(point.record.item_id))
            or thumbnails.get(point.record.item_id) != point.thumbnail
        ]


def _same(written: GalleryPoint, found: GalleryPoint | None) -> bool:
    return (
        found is not None
        and replace(found.record, payload={}) == replace(written.record, payload={})
        and same_payload(found.record.payload, written.record.payload)
        and float(np.abs(found.embedding - written.embedding).max()) <= _EMBEDDING_TOLERANCE
    )
