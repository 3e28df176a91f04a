"""Puts a gallery in files into the place of the present one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from aff_shared.errors import BackupError
from aff_shared.store.gallery_catalogue import Collection, GalleryCatalogue
from aff_shared.store.gallery_store import GalleryPoint, GalleryStore
from aff_shared.store.retry import retry_for
from gallery_indexer.collections.export_gallery import STORE_WAIT_S, ImageCounter
from gallery_indexer.collections.portable_manifest import Manifest, PortableCollection, key_of, read_manifest
from gallery_indexer.collections.portable_parts import read_part, require_whole

_EMBEDDING_TOLERANCE = 1e-5  # stores may bring vectors to unit length again
_WRITES = 3  # of an image that a node of a cluster does not show yet


async def import_gallery(catalogue: GalleryCatalogue, directory: Path, progress: ImageCounter) -> Manifest:
    """Replace all collections by those in a directory.

    They are built beside the present ones, every image is read back and compared, and then they take their place at
    one moment. Until then searches go on as before. A restoration that was interrupted goes on when it is begun again.

    Args:
        catalogue: The gallery.
        directory: As `export_gallery` writes it.
        progress: Counts the images.

    Raises:
        BackupNotFoundError: There is no such directory.
        BackupDamagedError: A file is missing or altered.
        BackupError: It is of another release, or the store does not return what was written; the gallery is as before.
        StoreError: The store failed; likewise.
    """
    manifest = await asyncio.to_thread(read_manifest, directory)
    progress.expect(manifest.count)
    for collection in manifest.collections:
        for part in collection.parts:
            await asyncio.to_thread(require_whole, collection.place(directory), part)
    try:
        restoration = await catalogue.restoration(await asyncio.to_thread(key_of, directory))
        try:
            for collection in manifest.collections:
                store = await restoration.create(collection.space)
                await store.index_payload()
                await _Filling(store, collection, collection.place(directory), progress).run()
            await restoration.take_place(
                [Collection(one.space, one.live, one.live_since) for one in manifest.collections]
            )
        finally:
            await restoration.close()
    except OSError as error:
        raise BackupError(f"it cannot be restored: {error}", item=directory.name) from error
    return manifest


async def require_replaceable(catalogue: GalleryCatalogue, name: str) -> None:
    """Raise BackupError where a gallery has images."""
    for collection in await catalogue.collections():
        if count := await (await catalogue.collection(collection.space)).count():
            raise BackupError(f"the gallery has {count} images, which it would replace; say `force`", item=name)


@dataclass(frozen=True, slots=True)
class _Filling:
    """Fills one collection, and compares it."""

    store: GalleryStore
    collection: PortableCollection
    place: Path
    progress: ImageCounter

    async def run(self) -> None:
        """Write what is not there yet; raises as `import_gallery`."""
        begun_before = await self.store.count() > 0
        for part in self.collection.parts:
            pages = read_part(self.place, part, self.collection.space.dimension)
            while (points := await asyncio.to_thread(next, pages, None)) is not None:
                await self._fill(points, begun_before=begun_before)
                self.progress.advance(len(points))
        if (count := await self.store.count()) != self.collection.count:
            detail = f"the store has {count} images and not {self.collection.count}"
            raise BackupError(detail, item=self.place.name)

    async def _fill(self, points: Sequence[GalleryPoint], *, begun_before: bool) -> None:
        lacking = await self._different(points) if begun_before else points
        for _ in range(_WRITES):
            if not lacking:
                return
            await retry_for(partial(self.store.upsert, lacking), wait_s=STORE_WAIT_S)
            lacking = await self._different(lacking)
        if lacking:
            detail = f"the store does not return {lacking[0].record.item_id!r} as it was written"
            raise BackupError(detail, item=self.place.name)

    async def _different(self, points: Sequence[GalleryPoint]) -> list[GalleryPoint]:
        """Return those points that the store does not hold just so."""
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
        and found.record == written.record
        and float(np.abs(found.embedding - written.embedding).max()) <= _EMBEDDING_TOLERANCE
    )
