"""Repairs an embedded gallery with damaged files: unreadable files are moved away, never deleted.

```
damaged/<time>/<12 digits>/       a collection that could not be read
damaged/<time>/catalogue.json     a catalogue that could not be read
```

An empty collection of the same embedding space replaces a damaged one. If that was the live one and
others are intact, the largest of them becomes live: it has every image that was indexed since it was created.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from aff_shared.errors import StoreDamagedError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.embedded.catalogue import QdrantEdgeCatalogue, adopt_earlier_release
from aff_shared.store.embedded.directory import EdgeManifest, acquire_lock
from aff_shared.store.embedded.restoration import finish_restore
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.gallery_store import GalleryPoint
from aff_shared.store.settings import StoreSettings

_PAGE = 1000
_UNIT_TOLERANCE = 1e-3


@dataclass(slots=True)
class RebuiltGallery:
    """Result of a rebuild.

    Attributes:
        aside: Directory of the damaged files; None if no files were damaged.
        emptied: Spaces whose collections were damaged, and are now empty.
        nameless: Damaged collections whose spaces could not be read; they were not replaced.
        live: Space that is live now; None if there are no collections.
        images: Number of images in the live collection.
    """

    aside: Path | None = None
    emptied: list[EmbeddingSpace] = field(default_factory=list)
    nameless: list[str] = field(default_factory=list)
    live: EmbeddingSpace | None = None
    images: int = 0


async def rebuild_gallery(settings: StoreSettings) -> RebuiltGallery:
    """Read the whole gallery at `settings.edge_path`, and replace what is damaged.

    Raises:
        StoreLockedError: A service has it open.
        StoreUnavailableError: The directory cannot be read or changed.
    """
    root = settings.edge_path.absolute()
    aside, rebuilt = root / "damaged" / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S.%fZ}", RebuiltGallery()
    lock = await asyncio.to_thread(acquire_lock, root)
    try:
        await asyncio.to_thread(finish_restore, root)
        await asyncio.to_thread(adopt_earlier_release, root)
        counts = await _set_damaged_aside(root, aside, settings, rebuilt)
        if not counts and not rebuilt.emptied and (root / "catalogue.json").exists():
            _set_aside(root / "catalogue.json", aside, rebuilt)  # its live collection no longer exists
        catalogue = await asyncio.to_thread(_open_catalogue, root, aside, settings, lock, rebuilt)
    except BaseException:
        os.close(lock)
        raise
    try:
        await _fill_places(catalogue, counts, rebuilt)
    finally:
        await catalogue.close()
    return rebuilt


async def _set_damaged_aside(
    root: Path, aside: Path, settings: StoreSettings, rebuilt: RebuiltGallery
) -> dict[str, int]:
    """Return the images of each whole collection, by its name."""
    counts = {}
    for path in sorted((root / "collections").glob("*/")):
        count = await _count_readable(path, settings)
        if count is not None:
            counts[path.name] = count
            continue
        if await asyncio.to_thread(_is_unused, path):
            continue
        space = await asyncio.to_thread(_space_of, path)
        if space is None:
            rebuilt.nameless.append(path.name)
        else:
            rebuilt.emptied.append(space)
        await asyncio.to_thread(_set_aside, path, aside, rebuilt)
    return counts


async def _count_readable(path: Path, settings: StoreSettings) -> int | None:
    """Return the number of points of a collection after reading all of them; None if it is damaged."""
    if _space_of(path) is None:
        return None  # opening it would sweep its shards
    try:
        store = await QdrantEdgeStore.open(path, settings)
    except StoreDamagedError:
        return None
    try:
        read, page = 0, await store.scroll(limit=_PAGE)
        while all(map(_is_unit, page.points)):
            read += len(page.points)
            if page.cursor is None:
                return read if read == await store.count() else None
            page = await store.scroll(limit=_PAGE, cursor=page.cursor)
    except StoreDamagedError:
        pass
    finally:
        await store.close()
    return None


def _is_unit(point: GalleryPoint) -> bool:
    return bool(abs(np.linalg.norm(point.embedding) - 1.0) < _UNIT_TOLERANCE)


def _is_unused(path: Path) -> bool:
    """Return whether a directory was made for a collection that was never created, as serving another bundle does."""
    return all(entry.name == "gallery.lock" for entry in path.iterdir())


def _space_of(path: Path) -> EmbeddingSpace | None:
    try:
        return EdgeManifest.model_validate_json((path / "gallery.json").read_bytes()).embedding_space
    except (OSError, ValueError):
        return None


def _set_aside(path: Path, aside: Path, rebuilt: RebuiltGallery) -> None:
    aside.mkdir(parents=True, exist_ok=True)
    path.rename(aside / path.name)
    rebuilt.aside = aside


def _open_catalogue(
    root: Path, aside: Path, settings: StoreSettings, lock: int, rebuilt: RebuiltGallery
) -> QdrantEdgeCatalogue:
    try:
        return QdrantEdgeCatalogue(settings, root, lock)
    except StoreDamagedError:
        _set_aside(root / "catalogue.json", aside, rebuilt)
        return QdrantEdgeCatalogue(settings, root, lock)


async def _fill_places(catalogue: QdrantEdgeCatalogue, counts: Mapping[str, int], rebuilt: RebuiltGallery) -> None:
    there = await catalogue.collections()
    if there and not there[0].live:
        fullest = max(there, key=lambda collection: counts[collection.space.id[:12]])
        await catalogue.switch(fullest.space.id)
    for space in rebuilt.emptied:
        await catalogue.create(space)
    for collection in await catalogue.collections():
        if collection.live:
            rebuilt.live = collection.space
            rebuilt.images = await (await catalogue.collection(collection.space)).count()
