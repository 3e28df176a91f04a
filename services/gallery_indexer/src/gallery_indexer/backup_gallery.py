"""Backups of a gallery in a directory that the operator named."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from aff_contracts.errors import BackupError, BackupNotFoundError
from aff_contracts.gallery_store.gallery_catalogue import GalleryCatalogue, live_one
from aff_contracts.schemas.gallery import Backup
from gallery_indexer.index_collections import IndexCollections

_DESCRIPTION = "backup.json"


class BackupGallery:
    """Makes backups, and puts the gallery back to one.

    Args:
        catalogue: The collections.
        collections: Opened again after a restoration.
        root: Directory of the backups; None where the operator named none.
    """

    def __init__(self, catalogue: GalleryCatalogue, collections: IndexCollections, root: Path | None) -> None:
        self._catalogue = catalogue
        self._collections = collections
        self._root = root
        self._being_made: set[str] = set()

    async def create(self, name: str) -> Backup:
        """Write all collections into a new backup; it is there whole or not at all.

        Raises:
            BackupError: There is one of that name, it is being made, or there is no directory for backups.
            StoreError: The store failed.
        """
        place = self._place(name)
        if name in self._being_made:
            raise BackupError("a backup of that name is being made", item=name)
        self._being_made.add(name)
        partial = place.with_name(f".{name}.partial")
        try:
            if await asyncio.to_thread(place.exists):
                raise BackupError("there is a backup of that name", item=name)
            await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
            return await self._write(name, partial, place)
        except OSError as error:
            raise BackupError(f"it cannot be written: {error}", item=name) from error
        finally:
            await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
            self._being_made.discard(name)

    async def backups(self) -> list[Backup]:
        """Return the backups, the newest first; raises BackupError without a directory for them."""
        found = await asyncio.to_thread(lambda: [_read(path.parent) for path in self._backups()])
        return sorted(found, key=lambda backup: backup.created_at, reverse=True)

    async def restore(self, name: str, *, force: bool) -> None:
        """Replace the gallery by a backup.

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
        await self._catalogue.restore(place)
        await self._collections.reopen()

    async def _write(self, name: str, partial: Path, place: Path) -> Backup:
        collections = await self._catalogue.collections()
        live = await self._catalogue.collection(live_one(collections).space)
        backup = Backup(
            name=name,
            store=self._catalogue.name,
            created_at=datetime.now(UTC),
            spaces=[collection.space for collection in collections],
            count=await live.count(),
        )
        await asyncio.to_thread(partial.mkdir, parents=True)
        await self._catalogue.backup(partial)
        await asyncio.to_thread((partial / _DESCRIPTION).write_text, backup.model_dump_json(indent=2))
        await asyncio.to_thread(partial.rename, place)
        return backup

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
