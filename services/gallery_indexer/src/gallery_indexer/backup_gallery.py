"""Backups of a gallery in a directory that the operator named."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from aff_contracts.errors import BackupError, BackupNotFoundError
from aff_contracts.gallery_store.gallery_catalogue import GalleryCatalogue, live_one
from aff_contracts.schemas.gallery import Backup
from gallery_indexer.gallery_jobs import JobProgress, Work
from gallery_indexer.index_collections import IndexCollections

_DESCRIPTION = "backup.json"


class BackupGallery:
    """Makes backups, and puts the gallery back to one; what takes long is a job.

    Args:
        catalogue: The collections.
        collections: Opened again after a restoration.
        root: Directory of the backups; None where the operator named none.
    """

    def __init__(self, catalogue: GalleryCatalogue, collections: IndexCollections, root: Path | None) -> None:
        self._catalogue = catalogue
        self._collections = collections
        self._root = root

    async def prepare_backup(self, name: str) -> Work:
        """Return the job that writes all collections into a new backup; it is there whole or not at all.

        Raises:
            BackupError: There is one of that name, or there is no directory for backups.
        """
        place = self._place(name)
        if await asyncio.to_thread(place.exists):
            raise BackupError("there is a backup of that name", item=name)
        return partial(self._back_up, name)

    async def backups(self) -> list[Backup]:
        """Return the backups, the newest first; raises BackupError without a directory for them."""
        found = await asyncio.to_thread(lambda: [_read(path.parent) for path in self._backups()])
        return sorted(found, key=lambda backup: backup.created_at, reverse=True)

    async def prepare_restoration(self, name: str, *, force: bool) -> Work:
        """Return the job that replaces the gallery by a backup.

        Raises:
            BackupNotFoundError: There is none of that name.
            BackupError: It is damaged, it belongs to another adapter, or the gallery has images and `force` is not
                said.
            StoreError: The store failed.
        """
        place = self._place(name)
        backup = await asyncio.to_thread(_read, place)
        if backup.store != self._catalogue.name:
            raise BackupError(f"it belongs to {backup.store}, this gallery to {self._catalogue.name}", item=name)
        for collection in await self._catalogue.collections():
            count = await (await self._catalogue.collection(collection.space)).count()
            if count and not force:
                raise BackupError(f"the gallery has {count} images, which it would replace; say `force`", item=name)
        return partial(self._restore, backup)

    async def _back_up(self, name: str, progress: JobProgress) -> None:
        place = self._place(name)
        unfinished = place.with_name(f".{name}.partial")
        try:
            await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
            progress.note(await self._write(name, unfinished, progress))
            await asyncio.to_thread(unfinished.rename, place)
        except OSError as error:
            raise BackupError(f"it cannot be written: {error}", item=name) from error
        finally:
            await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)

    async def _write(self, name: str, place: Path, progress: JobProgress) -> Backup:
        collections = await self._catalogue.collections()
        live = await self._catalogue.collection(live_one(collections).space)
        backup = Backup(
            name=name,
            store=self._catalogue.name,
            created_at=datetime.now(UTC),
            spaces=[collection.space for collection in collections],
            count=await live.count(),
        )
        progress.expect(backup.count)
        await asyncio.to_thread(place.mkdir, parents=True)
        await self._catalogue.backup(place)
        await asyncio.to_thread((place / _DESCRIPTION).write_text, backup.model_dump_json(indent=2))
        progress.advance(backup.count)
        return backup

    async def _restore(self, backup: Backup, progress: JobProgress) -> None:
        progress.expect(backup.count)
        try:
            await self._catalogue.restore(self._place(backup.name))
        except OSError as error:
            raise BackupError(f"it cannot be restored: {error}", item=backup.name) from error
        await self._collections.reopen()
        progress.advance(backup.count)

    def _place(self, name: str) -> Path:
        if self._root is None:
            raise BackupError("this service has no directory for backups (AFF_INDEX_BACKUPS_PATH)")
        return self._root / name

    def _backups(self) -> list[Path]:
        return list(self._place(".").glob(f"[!.]*/{_DESCRIPTION}"))


def _read(place: Path) -> Backup:
    try:
        return Backup.model_validate_json((place / _DESCRIPTION).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BackupNotFoundError("there is no backup of that name", item=place.name) from error
    except (OSError, ValidationError) as error:
        raise BackupError(f"its description cannot be read: {error}", item=place.name) from error
