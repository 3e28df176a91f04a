"""The gallery indexer, from Python: `IndexerClient`, and `AsyncIndexerClient` for an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

from aff_client import index_calls as calls
from aff_client.answers import ServiceUnreachableError
from aff_client.index_calls import Upload
from aff_client.service_client import AsyncServiceClient, ServiceClient
from aff_shared.schemas.gallery import Backup, CollectionStatus, GalleryJob, GalleryStatus
from aff_shared.schemas.indexing import GalleryImage, IndexResponse, JsonObject, LookupImage, Receipt
from aff_shared.schemas.payload_filter import PayloadFilter

__all__ = ["AsyncIndexerClient", "IndexerClient", "Upload"]
_CUT_OFF = "the response ended early; images with a receipt are in the gallery"


class IndexerClient(ServiceClient):
    """Client of the gallery indexer."""

    DEFAULT_TIMEOUT_S = 300.0

    def index(self, uploads: Sequence[Upload], *, details: bool = False) -> IndexResponse:
        """Send a batch of images; receipts have their order.

        Args:
            uploads: The images.
            details: Whether the service adds file name, folder, date, camera and position to the payloads.

        Raises:
            ServiceError: The whole request was rejected.
            ServiceUnreachableError: The service does not respond.
        """
        return self._send(calls.index(uploads, details=details))

    def receipts(self, uploads: Sequence[Upload], *, details: bool = False) -> Iterator[Receipt]:
        """Send a batch of images, and yield each receipt as soon as its image is done; otherwise as `index`."""
        call = calls.index(uploads, details=details, lines=True)
        with closing(self._lines(call)) as lines:
            for line in lines:
                receipt = calls.receipt_of(line)
                if receipt is None:
                    return
                yield receipt
        raise ServiceUnreachableError(_CUT_OFF, item=self.url)

    def index_files(
        self, source: Path | Iterable[Path], *, payload: JsonObject | None = None, details: bool = True
    ) -> Iterator[Receipt]:
        """Index a file, several files, or the image files of a folder; yield receipts as images are done.

        The ids are paths relative to the folder, and names of single files; every image has the payload. Errors as
        `index`; OSError if a file cannot be read.
        """
        for batch in calls.upload_batches(source, payload):
            yield from self.receipts(batch, details=details)

    def lookup(self, images: Sequence[LookupImage]) -> list[str]:
        """Return the ids of the images whose stored content and payload are the same; errors as `index`."""
        return self._send(calls.lookup(images)).up_to_date

    def image(self, item_id: str) -> GalleryImage:
        """Return the record of an image; errors as `index`."""
        return self._send(calls.image(item_id))

    def change(self, item_id: str, patch: JsonObject) -> GalleryImage:
        """Merge an object into the payload of an image: null removes a key (RFC 7396); errors as `index`."""
        return self._send(calls.change(item_id, patch))

    def replace(self, item_id: str, payload: JsonObject) -> GalleryImage:
        """Replace the payload of an image; errors as `index`."""
        return self._send(calls.replace(item_id, payload))

    def delete(self, item_ids: Sequence[str]) -> int:
        """Delete images, and return how many of them existed; errors as `index`."""
        return self._send(calls.delete({"ids": list(item_ids)})).deleted

    def delete_matching(self, payload_filter: PayloadFilter | Mapping[str, Any]) -> int:
        """Delete the images that match a payload filter, and return their number; errors as `index`."""
        return self._send(calls.delete(calls.filtered(payload_filter))).deleted

    def delete_all(self) -> int:
        """Delete every image, and return their number; errors as `index`."""
        return self._send(calls.delete({"all": True})).deleted

    def gallery(self) -> GalleryStatus:
        """Return the state of the gallery; errors as `index`."""
        return self._send(calls.gallery())

    def create(self) -> GalleryStatus:
        """Create an empty gallery if none exists; errors as `index`."""
        return self._send(calls.create())

    def build(self, bundle: str) -> CollectionStatus:
        """Create the collection of another bundle in addition to the live one; errors as `index`."""
        return self._send(calls.build(bundle))

    def remix(self, bundle: str) -> GalleryJob:
        """Start filling the collection of another mixer from stored tokens; errors as `index`."""
        return self._send(calls.start("/gallery/remix", {"bundle": bundle}))

    def verify(self, space: str, *, samples: int, neighbours: int) -> GalleryJob:
        """Start comparing a collection with the live one; errors as `index`."""
        body = {"space": space, "samples": samples, "neighbours": neighbours}
        return self._send(calls.start("/gallery/verify", body))

    def job(self, job_id: str) -> GalleryJob:
        """Return the state of a job; errors as `index`."""
        return self._send(calls.job(job_id))

    def jobs(self) -> list[GalleryJob]:
        """Return the running job and the last finished ones, newest first; errors as `index`."""
        return self._send(calls.jobs())

    def switch(self, space: str) -> GalleryStatus:
        """Make another collection the live one; errors as `index`."""
        return self._send(calls.switch(space))

    def backup(self, name: str) -> GalleryJob:
        """Start writing all collections to a new backup; errors as `index`."""
        return self._send(calls.start("/gallery/backups", {"name": name}))

    def backups(self) -> list[Backup]:
        """Return the backups, newest first; errors as `index`."""
        return self._send(calls.backups())

    def restore(self, name: str, *, force: bool) -> GalleryJob:
        """Start replacing the gallery with a backup; errors as `index`."""
        return self._send(calls.start("/gallery/restore", {"name": name, "force": force}))

    def drop(self, space: str) -> None:
        """Remove a collection that is not live; errors as `index`."""
        self._send(calls.drop(space))


class AsyncIndexerClient(AsyncServiceClient):
    """Client of the gallery indexer for an event loop."""

    DEFAULT_TIMEOUT_S = 300.0

    async def index(self, uploads: Sequence[Upload], *, details: bool = False) -> IndexResponse:
        """Send a batch of images; see IndexerClient.index."""
        return await self._send(calls.index(uploads, details=details))

    async def receipts(self, uploads: Sequence[Upload], *, details: bool = False) -> AsyncIterator[Receipt]:
        """Send a batch of images, and yield each receipt as soon as its image is done; otherwise as `index`."""
        call = calls.index(uploads, details=details, lines=True)
        async with aclosing(self._lines(call)) as lines:
            async for line in lines:
                receipt = calls.receipt_of(line)
                if receipt is None:
                    return
                yield receipt
        raise ServiceUnreachableError(_CUT_OFF, item=self.url)

    async def index_files(
        self, source: Path | Iterable[Path], *, payload: JsonObject | None = None, details: bool = True
    ) -> AsyncIterator[Receipt]:
        """Index files or a folder; see IndexerClient.index_files."""
        batches = calls.upload_batches(source, payload)
        while batch := await asyncio.to_thread(next, batches, None):
            async for receipt in self.receipts(batch, details=details):
                yield receipt

    async def lookup(self, images: Sequence[LookupImage]) -> list[str]:
        """Return the ids of the images whose stored content and payload are the same; errors as `index`."""
        return (await self._send(calls.lookup(images))).up_to_date

    async def image(self, item_id: str) -> GalleryImage:
        """Return the record of an image; errors as `index`."""
        return await self._send(calls.image(item_id))

    async def change(self, item_id: str, patch: JsonObject) -> GalleryImage:
        """Merge an object into the payload of an image: null removes a key (RFC 7396); errors as `index`."""
        return await self._send(calls.change(item_id, patch))

    async def replace(self, item_id: str, payload: JsonObject) -> GalleryImage:
        """Replace the payload of an image; errors as `index`."""
        return await self._send(calls.replace(item_id, payload))

    async def delete(self, item_ids: Sequence[str]) -> int:
        """Delete images, and return how many of them existed; errors as `index`."""
        return (await self._send(calls.delete({"ids": list(item_ids)}))).deleted

    async def delete_matching(self, payload_filter: PayloadFilter | Mapping[str, Any]) -> int:
        """Delete the images that match a payload filter, and return their number; errors as `index`."""
        return (await self._send(calls.delete(calls.filtered(payload_filter)))).deleted

    async def delete_all(self) -> int:
        """Delete every image, and return their number; errors as `index`."""
        return (await self._send(calls.delete({"all": True}))).deleted

    async def gallery(self) -> GalleryStatus:
        """Return the state of the gallery; errors as `index`."""
        return await self._send(calls.gallery())

    async def create(self) -> GalleryStatus:
        """Create an empty gallery if none exists; errors as `index`."""
        return await self._send(calls.create())

    async def build(self, bundle: str) -> CollectionStatus:
        """Create the collection of another bundle in addition to the live one; errors as `index`."""
        return await self._send(calls.build(bundle))

    async def remix(self, bundle: str) -> GalleryJob:
        """Start filling the collection of another mixer from stored tokens; errors as `index`."""
        return await self._send(calls.start("/gallery/remix", {"bundle": bundle}))

    async def verify(self, space: str, *, samples: int, neighbours: int) -> GalleryJob:
        """Start comparing a collection with the live one; errors as `index`."""
        body = {"space": space, "samples": samples, "neighbours": neighbours}
        return await self._send(calls.start("/gallery/verify", body))

    async def job(self, job_id: str) -> GalleryJob:
        """Return the state of a job; errors as `index`."""
        return await self._send(calls.job(job_id))

    async def jobs(self) -> list[GalleryJob]:
        """Return the running job and the last finished ones, newest first; errors as `index`."""
        return await self._send(calls.jobs())

    async def switch(self, space: str) -> GalleryStatus:
        """Make another collection the live one; errors as `index`."""
        return await self._send(calls.switch(space))

    async def backup(self, name: str) -> GalleryJob:
        """Start writing all collections to a new backup; errors as `index`."""
        return await self._send(calls.start("/gallery/backups", {"name": name}))

    async def backups(self) -> list[Backup]:
        """Return the backups, newest first; errors as `index`."""
        return await self._send(calls.backups())

    async def restore(self, name: str, *, force: bool) -> GalleryJob:
        """Start replacing the gallery with a backup; errors as `index`."""
        return await self._send(calls.start("/gallery/restore", {"name": name, "force": force}))

    async def drop(self, space: str) -> None:
        """Remove a collection that is not live; errors as `index`."""
        await self._send(calls.drop(space))
