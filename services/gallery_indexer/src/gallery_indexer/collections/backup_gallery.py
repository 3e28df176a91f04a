"""Backups of a gallery in the operator's directory."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from aff_shared.errors import BackupError
from aff_shared.schemas.gallery import Backup
from aff_shared.schemas.payload_schema import PayloadType
from aff_shared.store.gallery_catalogue import GalleryCatalogue
from gallery_indexer.collections.export_gallery import RESUMABLE, export_gallery
from gallery_indexer.collections.gallery_jobs import JobProgress, Work
from gallery_indexer.collections.import_gallery import import_gallery, require_replaceable
from gallery_indexer.collections.index_collections import IndexCollections
from gallery_indexer.collections.portable_manifest import MANIFEST, read_manifest

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
