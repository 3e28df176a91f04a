"""HTTP client of the gallery indexer."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import TypeAdapter

from aff_client.service_client import ServiceClient
from aff_shared.schemas.gallery import CollectionStatus, GalleryJob, GalleryStatus
from aff_shared.schemas.indexing import (
    IndexResponse,
    JsonObject,
    LookupImage,
    LookupResponse,
)

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Upload:
    """One image to be indexed.

    Attributes:
        id: Id of the image.
        name: File name, for receipts and errors.
        data: The encoded image file.
        payload: JSON object kept with the image.
    """

    id: str
    name: str
    data: bytes
    payload: JsonObject = field(default_factory=dict)


class IndexerClient(ServiceClient):
    """Client of the gallery indexer."""

    def __init__(self, url: str, timeout_s: float = 300.0, key: str | None = None) -> None:
        super().__init__(url, timeout_s, key)

    def index(self, uploads: Sequence[Upload]) -> IndexResponse:
        """Send a batch of images; receipts have their order.

        Raises:
            ServiceError: The whole request was rejected.
            ServiceUnreachableError: The service does not respond.
        """
        files = [("images", (upload.name, upload.data, "application/octet-stream")) for upload in uploads]
        items = json.dumps([{"id": upload.id, "payload": upload.payload} for upload in uploads])
        read = IndexResponse.model_validate_json
        return self._call("POST", "/index", read, files=files, data={"items": items})

    def lookup(self, images: Sequence[LookupImage]) -> list[str]:
        """Return the ids of the images whose stored content and payload are the same; errors as `index`."""
        body = {"images": [image.model_dump(exclude_none=True) for image in images]}
        return self._post("/images/lookup", body, LookupResponse.model_validate_json, safe=True).up_to_date

    def gallery(self) -> GalleryStatus:
        """Return the state of the gallery; errors as `index`."""
        return self._call("GET", "/gallery", GalleryStatus.model_validate_json, safe=True)

    def create(self) -> GalleryStatus:
        """Create an empty gallery if none exists; errors as `index`."""
        return self._post("/gallery", {}, GalleryStatus.model_validate_json)

    def build(self, bundle: str) -> CollectionStatus:
        """Create the collection of another bundle in addition to the live one; errors as `index`."""
        return self._post("/gallery/collections", {"bundle": bundle}, CollectionStatus.model_validate_json)

    def remix(self, bundle: str) -> GalleryJob:
        """Start filling the collection of another mixer from stored tokens; errors as `index`."""
        return self._start("/gallery/remix", {"bundle": bundle})

    def verify(self, space: str, *, samples: int, neighbours: int) -> GalleryJob:
        """Start comparing a collection with the live one; errors as `index`."""
        return self._start("/gallery/verify", {"space": space, "samples": samples, "neighbours": neighbours})

    def job(self, job_id: str) -> GalleryJob:
        """Return the state of a job; errors as `index`."""
        return self._call("GET", f"/gallery/jobs/{job_id}", GalleryJob.model_validate_json, safe=True)

    def jobs(self) -> list[GalleryJob]:
        """Return the running job and the last finished ones, newest first; errors as `index`."""
        return self._call("GET", "/gallery/jobs", TypeAdapter(list[GalleryJob]).validate_json, safe=True)

    def switch(self, space: str) -> GalleryStatus:
        """Make another collection the live one; errors as `index`."""
        return self._post("/gallery/live", {"space": space}, GalleryStatus.model_validate_json)

    def backup(self, name: str) -> GalleryJob:
        """Start writing all collections to a new backup; errors as `index`."""
        return self._start("/gallery/backups", {"name": name})

    def restore(self, name: str, *, force: bool) -> GalleryJob:
        """Start replacing the gallery with a backup; errors as `index`."""
        return self._start("/gallery/restore", {"name": name, "force": force})

    def drop(self, space: str) -> None:
        """Remove a collection that is not live; errors as `index`."""
        self._call("DELETE", f"/gallery/collections/{space}", bytes)

    def _start(self, path: str, body: Mapping[str, Any]) -> GalleryJob:
        """Start a job; a repeated request after a lost connection refers to the same job."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self._call("POST", path, GalleryJob.model_validate_json, safe=True, json=body, headers=headers)

    def _post(
        self, path: str, body: Mapping[str, Any], read: Callable[[bytes], _Answer], *, safe: bool = False
    ) -> _Answer:
        return self._call("POST", path, read, safe=safe, json=body)
