"""The collections that this process has opened, and the manifests of imported ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from aff_shared.bundles.bundle import ImportedSpace, ServedManifest, load_served_manifest
from aff_shared.errors import EncoderMissingError
from gallery_indexer.collections.collection_runtime import CollectionRuntime

_NO_GALLERY_SIDE = (
    "the vectors of this gallery were imported, so no model embeds photographs for it: import them again with the new "
    "ones, or build a collection with a bundle (aff gallery build)"
)


class OpenedCollections:
    """Opens collections, and closes them after the requests that use them.

    Args:
        default: A collection that is open already.
        open_collection: Opens the collection of a bundle, given the bundle's directory.
    """

    def __init__(
        self, default: CollectionRuntime, open_collection: Callable[[Path], Awaitable[CollectionRuntime]]
    ) -> None:
        self._open_collection = open_collection
        self._runtimes = {default.manifest.space.id: default}
        self._imported: dict[str, ImportedSpace] = {}
        self._retired: dict[CollectionRuntime, asyncio.Task[None]] = {}

    def runtime(self, space_id: str) -> CollectionRuntime | None:
        """Return a collection that is written; None if it was not opened, or was imported."""
        return self._runtimes.get(space_id)

    def written(self, space_id: str) -> CollectionRuntime:
        """Return an opened collection.

        Raises:
            EncoderMissingError: It was imported.
        """
        if space_id in self._imported:
            raise EncoderMissingError(_NO_GALLERY_SIDE, item=self._imported[space_id].name)
        return self._runtimes[space_id]

    def manifest(self, space_id: str) -> ServedManifest | None:
        """Return the manifest of an opened collection, also of an imported one; None if it was not opened."""
        runtime = self._runtimes.get(space_id)
        return self._imported.get(space_id) if runtime is None else runtime.manifest

    async def open(self, space_id: str, bundle: Path) -> None:
        """Open a collection with the bundle in a directory, unless it is open; raises BundleError and StoreError."""
        if self.manifest(space_id) is not None:
            return
        manifest = await asyncio.to_thread(load_served_manifest, bundle)
        if isinstance(manifest, ImportedSpace):
            self._imported[space_id] = manifest
        else:
            self._runtimes[space_id] = await self._open_collection(bundle)

    def keep(self, space_ids: Collection[str]) -> None:
        """Close all others, in the background."""
        for space_id in {*self._runtimes, *self._imported} - set(space_ids):
            if self._imported.pop(space_id, None) is None:
                self._retire(self._runtimes.pop(space_id))

    async def close(self) -> None:
        """Close every collection, also those in use."""
        self.keep(())
        for runtime in self._retired:
            runtime.stop_waiting()
        await asyncio.gather(*self._retired.values())

    def _retire(self, runtime: CollectionRuntime) -> None:
        """Close a collection in the background, after the requests that use it."""
        self._retired[runtime] = asyncio.create_task(runtime.close_when_unused())
        self._retired[runtime].add_done_callback(lambda _: self._retired.pop(runtime))
