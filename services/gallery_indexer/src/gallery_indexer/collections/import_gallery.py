"""Replaces the gallery with one in files."""

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
        raise BackupError(f"cannot be restored: {error}", item=directory.name) from error
    return manifest


async def require_replaceable(catalogue: GalleryCatalogue, name: str) -> None:
    """Raise BackupError if the gallery has images."""
    for collection in await catalogue.collections():
        if count := await (await catalogue.collection(collection.space)).count():
            raise BackupError(f"the gallery has {count} images, which it would replace; set `force`", item=name)


@dataclass(frozen=True, slots=True)
class _Filling:
    """Fills one collection and compares its images."""

    store: GalleryStore
    collection: PortableCollection
    place: Path
    progress: ImageCounter

    async def run(self) -> None:
        """Write the missing images; raises as `import_gallery`."""
        resumed = await self.store.count() > 0
        for part in self.collection.parts:
            pages = read_part(self.place, part, self.collection.space.dimension)
            while (points := await asyncio.to_thread(next, pages, None)) is not None:
                await self._fill(points, resumed=resumed)
                self.progress.advance(len(points))
        if (count := await self.store.count()) != self.collection.count:
            detail = f"the store has {count} images instead of {self.collection.count}"
            raise BackupError(detail, item=self.place.name)

    async def _fill(self, points: Sequence[GalleryPoint], *, resumed: bool) -> None:
        lacking = await self._different(points) if resumed else points
        for _ in range(_WRITES):
            if not lacking:
                return
            await retry_for(partial(self.store.upsert, lacking), wait_s=STORE_WAIT_S)
            lacking = await self._different(lacking)
        if lacking:
            detail = f"the store does not return {lacking[0].record.item_id!r} as it was written"
            raise BackupError(detail, item=self.place.name)

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
        and found.record == written.record
        and float(np.abs(found.embedding - written.embedding).max()) <= _EMBEDDING_TOLERANCE
    )
