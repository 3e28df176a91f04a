"""Writes a gallery to files, a page at a time; an interrupted export is resumed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from aff_shared.errors import BackupError
from aff_shared.schemas.payload_schema import PayloadType
from aff_shared.store.gallery_catalogue import GalleryCatalogue, live_one
from aff_shared.store.gallery_store import GalleryPoint, GalleryStore
from aff_shared.store.retry import retry_for
from gallery_indexer.collections.portable_manifest import (
    Manifest,
    Part,
    PortableCollection,
    read_manifest,
    write_manifest,
)
from gallery_indexer.collections.portable_parts import PartWriter, require_whole

STORE_WAIT_S = 60.0
_PART_ROWS = 16_384
_PART_BYTES = 2**26
_PAGE_NUMBERS = 2**18  # numbers in the embeddings of a page
_LARGEST_PAGE = 512
RESUMABLE = timedelta(days=1)


class ImageCounter(Protocol):
    """Progress of an export or import."""

    def expect(self, images: int) -> None:
        """Set the total number of images."""
        ...

    def advance(self, images: int) -> None:
        """Count images that are done."""
        ...


async def export_gallery(
    catalogue: GalleryCatalogue,
    directory: Path,
    progress: ImageCounter,
    payload_schema: Mapping[str, PayloadType] | None = None,
) -> Manifest:
    """Write all collections into a new directory, completely or not at all.

    The export may or may not include images that are written meanwhile. An export that was interrupted less than a day
    ago is resumed: complete parts are kept.

    Args:
        catalogue: The collections.
        directory: The new directory, which has this name when it is complete.
        progress: Counts the images.
        payload_schema: Types of payload keys that filters use, for the manifest.

    Raises:
        BackupError: The directory exists already, or cannot be written.
        GalleryMissingError: No collection is live.
        StoreError: The store failed; written parts remain for the next attempt.
    """
    if await asyncio.to_thread(directory.exists):
        raise BackupError("a backup, or another file, of that name exists already", item=directory.name)
    unfinished = directory.with_name(f".{directory.name}.partial")
    try:
        manifest = await _begin(catalogue, unfinished, dict(payload_schema or {}))
        export = _Export(catalogue, unfinished, manifest, progress)
        await export.run()
        await asyncio.to_thread(unfinished.rename, directory)
        return export.manifest
    except OSError as error:
        await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
        raise BackupError(f"cannot be written: {error}", item=directory.name) from error


async def _begin(catalogue: GalleryCatalogue, place: Path, payload_schema: dict[str, PayloadType]) -> Manifest:
    """Return the manifest of the interrupted export, or a new one."""
    found = await catalogue.collections()
    live_one(found)
    collections = [PortableCollection(space=one.space, live=one.live, live_since=one.live_since) for one in found]
    now = datetime.now(UTC)
    former = await asyncio.to_thread(_resumable, place, now)
    if former is not None and [(one.space, one.live) for one in former.collections] == [
        (one.space, one.live) for one in collections
    ]:
        return former
    await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
    await asyncio.to_thread(place.mkdir, parents=True)
    return Manifest(
        complete=False, store=catalogue.name, created_at=now, payload_schema=payload_schema, collections=collections
    )


def _resumable(place: Path, now: datetime) -> Manifest | None:
    """Return the manifest of an interrupted export, with each collection's parts up to the first damaged one."""
    try:
        manifest = read_manifest(place, unfinished=True)
    except BackupError:
        return None
    if now - manifest.created_at > RESUMABLE:
        return None
    intact = [
        one.model_copy(update={"parts": _intact_parts(one.place(place), one.parts)}) for one in manifest.collections
    ]
    return manifest.model_copy(update={"collections": intact})


def _intact_parts(place: Path, parts: list[Part]) -> list[Part]:
    for number, part in enumerate(parts):
        try:
            require_whole(place, part)
        except BackupError:
            return parts[:number]
    return parts


@dataclass(slots=True)
class _Export:
    """An export in progress."""

    catalogue: GalleryCatalogue
    place: Path
    manifest: Manifest
    progress: ImageCounter

    async def run(self) -> None:
        """Write the missing parts, and complete the manifest."""
        stores = [await self.catalogue.collection(one.space) for one in self.manifest.collections]
        self.progress.expect(sum([await store.count() for store in stores]))
        self.progress.advance(self.manifest.count)
        for number, store in enumerate(stores):
            await self._write_collection(number, store)
        await self._update_manifest(complete=True)

    async def _write_collection(self, number: int, store: GalleryStore) -> None:
        while True:
            collection = self.manifest.collections[number]
            if collection.parts and collection.parts[-1].following is None:
                return
            part = await self._write_part(collection, store)
            if part is None:
                return
            collection = collection.model_copy(update={"parts": [*collection.parts, part]})
            others = self.manifest.collections
            await self._update_manifest(collections=[*others[:number], collection, *others[number + 1 :]])

    async def _write_part(self, collection: PortableCollection, store: GalleryStore) -> Part | None:
        """Write the next part; return None if there are no more images."""
        cursor = collection.parts[-1].following if collection.parts else None
        dimension = collection.space.dimension
        writer = await asyncio.to_thread(PartWriter, collection.place(self.place), len(collection.parts), dimension)
        try:
            while writer.count < _PART_ROWS and writer.size_bytes < _PART_BYTES:
                points, thumbnails, cursor = await _page(store, cursor, page_size(dimension))
                if points:
                    await asyncio.to_thread(writer.write, points, thumbnails)
                self.progress.advance(len(points))
                if cursor is None:
                    break
            return await asyncio.to_thread(writer.finish, cursor) if writer.count else None
        finally:
            await asyncio.to_thread(writer.close)

    async def _update_manifest(self, **values: object) -> None:
        self.manifest = self.manifest.model_copy(update=values)
        await asyncio.to_thread(write_manifest, self.place, self.manifest)


def page_size(dimension: int) -> int:
    """Return the number of images in memory at a time."""
    return max(1, min(_LARGEST_PAGE, _PAGE_NUMBERS // dimension))


async def _page(
    store: GalleryStore, cursor: str | None, limit: int
) -> tuple[list[GalleryPoint], dict[str, bytes], str | None]:
    """Return points, their thumbnails and the next cursor; waits for an unavailable store."""
    page = await retry_for(lambda: store.scroll(limit=limit, cursor=cursor), wait_s=STORE_WAIT_S)
    item_ids = [point.record.item_id for point in page.points]
    if not item_ids:
        return [], {}, page.cursor
    thumbnails = await retry_for(lambda: store.thumbnails(item_ids), wait_s=STORE_WAIT_S)
    return page.points, thumbnails, page.cursor
