"""The calls of the gallery indexer, and images to be indexed."""

from __future__ import annotations

import json
import struct
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from aff_client.answers import LINES, service_error
from aff_client.service_client import Call
from aff_shared.schemas.gallery import Backup, CollectionStatus, GalleryJob, GalleryStatus
from aff_shared.schemas.indexing import (
    IMAGE_SUFFIXES,
    DeletedImages,
    GalleryImage,
    IndexLine,
    IndexResponse,
    JsonObject,
    LookupImage,
    LookupResponse,
    Receipt,
)
from aff_shared.schemas.payload_filter import PayloadFilter

BATCH_IMAGES = 32
_BATCH_BYTES = 32 * 2**20
_SHAPE = "pixels have to be (H, W, 3) uint8"


@dataclass(frozen=True, slots=True)
class Upload:
    """One image to be indexed.

    Attributes:
        id: Id of the image.
        name: File name, for receipts and errors.
        data: The encoded image file.
        payload: JSON object kept with the image; an empty one keeps what the gallery has stored under the id.
    """

    id: str
    name: str
    data: bytes
    payload: JsonObject = field(default_factory=dict)

    @classmethod
    def of_pixels(cls, item_id: str, pixels: Any, payload: JsonObject | None = None) -> Upload:
        """Return an image of pixels, such as a numpy array: (H, W, 3) uint8 RGB."""
        return cls(item_id, f"{item_id}.png", png_of(pixels), payload or {})


def png_of(pixels: Any) -> bytes:
    """Return the PNG file of an array with the buffer protocol, such as a numpy array.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Raises:
        ValueError: The array has another shape or type.
    """
    view = memoryview(pixels)
    height, width, channels = view.shape if view.shape is not None and view.ndim == 3 else (0, 0, 0)  # noqa: PLR2004
    if view.format != "B" or channels != 3 or not height * width:  # noqa: PLR2004
        raise ValueError(_SHAPE)
    rows = view.tobytes()
    lines = b"".join(b"\0" + rows[start : start + 3 * width] for start in range(0, len(rows), 3 * width))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 1)), (b"IEND", b""))
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def image_files(source: Path) -> Iterator[tuple[str, Path]]:
    """Yield id and path of each image file: of a folder, its files by their relative paths; of a file, its name.

    Hidden files and folders are left out.
    """
    if not source.is_dir():
        yield source.name, source
        return
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file():
            yield relative.as_posix(), path


def upload_batches(source: Path | Iterable[Path], payload: JsonObject | None) -> Iterator[list[Upload]]:
    """Yield the image files of a source, read in batches; see `batches`.

    Raises:
        OSError: A file cannot be read.
    """
    sources = [source] if isinstance(source, Path) else source
    files = (named for one in sources for named in image_files(one))
    return batches(Upload(item_id, path.name, path.read_bytes(), payload or {}) for item_id, path in files)


def batches(uploads: Iterable[Upload]) -> Iterator[list[Upload]]:
    """Yield images in batches of at most 32 images, and of at most 32 MiB or one image."""
    batch: list[Upload] = []
    size = 0
    for upload in uploads:
        size += len(upload.data)
        if batch and (len(batch) == BATCH_IMAGES or size > _BATCH_BYTES):
            yield batch
            batch, size = [], len(upload.data)
        batch.append(upload)
    if batch:
        yield batch


def index(uploads: Sequence[Upload], *, details: bool, lines: bool = False) -> Call[IndexResponse]:
    """Index images; sending one again has no second effect, except that its receipt is a duplicate."""
    options = {
        "files": [("images", (upload.name, upload.data, "application/octet-stream")) for upload in uploads],
        "data": {"items": json.dumps([_item(upload) for upload in uploads])},
        "params": {"details": "true"} if details else {},
        "headers": {"Accept": LINES} if lines else {},
    }
    return Call("POST", "/index", IndexResponse.model_validate_json, options, safe=False)


def _item(upload: Upload) -> JsonObject:
    return {"id": upload.id, **({"payload": upload.payload} if upload.payload else {})}


def receipt_of(line: str) -> Receipt | None:
    """Return the receipt of a line of the response; None for the last line.

    Raises:
        ServiceError: The request failed midway; images with a receipt before it are in the gallery.
    """
    parsed = IndexLine.model_validate_json(line)
    if parsed.problem is not None:
        raise service_error(parsed.problem)(parsed.problem)
    return parsed.receipt


def lookup(images: Sequence[LookupImage]) -> Call[LookupResponse]:
    """Return which images need not be sent."""
    body = {"images": [image.model_dump(exclude_none=True) for image in images]}
    return Call("POST", "/images/lookup", LookupResponse.model_validate_json, {"json": body})


def image(item_id: str) -> Call[GalleryImage]:
    """Return the record of an image."""
    return _of_image("GET", item_id)


def change(item_id: str, patch: JsonObject) -> Call[GalleryImage]:
    """Merge an object into the payload of an image."""
    return _of_image("PATCH", item_id, json=patch)


def replace(item_id: str, payload: JsonObject) -> Call[GalleryImage]:
    """Replace the payload of an image."""
    return _of_image("PUT", item_id, json=payload)


def _of_image(method: str, item_id: str, **options: Any) -> Call[GalleryImage]:
    return Call(method, "/images", GalleryImage.model_validate_json, {"params": {"id": item_id}, **options})


def delete(selection: Mapping[str, Any]) -> Call[DeletedImages]:
    """Delete images by the fields of DeleteRequest; without ids, a repetition could delete images added since."""
    options = {"json": selection}
    return Call("POST", "/images/delete", DeletedImages.model_validate_json, options, safe="ids" in selection)


def filtered(payload_filter: PayloadFilter | Mapping[str, Any]) -> JsonObject:
    """Return the selection of the images that match a payload filter."""
    parsed = PayloadFilter.model_validate(payload_filter)
    return {"filter": parsed.model_dump(mode="json", exclude_none=True)}


def gallery() -> Call[GalleryStatus]:
    """Return the state of the gallery."""
    return Call("GET", "/gallery", GalleryStatus.model_validate_json)


def create() -> Call[GalleryStatus]:
    """Create an empty gallery if none exists."""
    return Call("POST", "/gallery", GalleryStatus.model_validate_json, {"json": {}}, safe=False)


def build(bundle: str) -> Call[CollectionStatus]:
    """Create the collection of another bundle."""
    options = {"json": {"bundle": bundle}}
    return Call("POST", "/gallery/collections", CollectionStatus.model_validate_json, options, safe=False)


def switch(space: str) -> Call[GalleryStatus]:
    """Make another collection the live one."""
    return Call("POST", "/gallery/live", GalleryStatus.model_validate_json, {"json": {"space": space}}, safe=False)


def drop(space: str) -> Call[bytes]:
    """Remove a collection."""
    return Call("DELETE", f"/gallery/collections/{space}", bytes, safe=False)


def start(path: str, body: Mapping[str, Any]) -> Call[GalleryJob]:
    """Start a job; a repeated request refers to the same job."""
    options = {"json": body, "headers": {"Idempotency-Key": uuid.uuid4().hex}}
    return Call("POST", path, GalleryJob.model_validate_json, options)


def backups() -> Call[list[Backup]]:
    """Return the backups."""
    return Call("GET", "/gallery/backups", TypeAdapter(list[Backup]).validate_json)


def job(job_id: str) -> Call[GalleryJob]:
    """Return the state of a job."""
    return Call("GET", f"/gallery/jobs/{job_id}", GalleryJob.model_validate_json)


def jobs() -> Call[list[GalleryJob]]:
    """Return the known jobs."""
    return Call("GET", "/gallery/jobs", TypeAdapter(list[GalleryJob]).validate_json)
