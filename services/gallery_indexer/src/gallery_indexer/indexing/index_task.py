"""The images of an index request, and one task for each gallery item they write."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

from aff_shared.errors import AffError, InvalidItemsError, RepeatedIdError
from aff_shared.images.details import photograph_details
from aff_shared.schemas.indexing import IndexItem, JsonObject, Receipt, ReceiptStatus
from aff_shared.schemas.item_id import canonical_id, require_addressable
from aff_shared.schemas.payload_schema import PayloadType, key_of_another_type
from aff_shared.schemas.problem import problem_of
from aff_shared.store.gallery_store import GalleryPoint, GalleryRecord
from gallery_indexer.features.image_encoder import EncodedImage
from gallery_indexer.indexing.payload_limits import PayloadLimits, require_storable, same_payload


@dataclass(frozen=True, slots=True)
class UploadedImage:
    """One image of a request.

    Attributes:
        data: The encoded image file; an error if the request has no readable one; None until it is fetched from `url`
            or `path`.
        name: File name of the upload, if it has one.
        item: The caller's id and payload.
        url: URL of an image that is fetched.
        path: Path of an image that is read below the source directory.
        details: Keys that are added to the payload if it lacks them.
    """

    data: bytes | AffError | None
    name: str | None = None
    item: IndexItem = field(default_factory=IndexItem)
    url: str | None = None
    path: str | None = None
    details: JsonObject = field(default_factory=dict)

    def payload_after(self, before: JsonObject) -> JsonObject:
        """Return the payload of an image with the payload `before`, after this one is indexed under its id."""
        return {**self.details, **(before if self.item.payload is None else self.item.payload)}


def with_details(
    images: Sequence[UploadedImage], schema: Mapping[str, PayloadType], *, location: bool
) -> list[UploadedImage]:
    """Return the images with the details of each file, except those that contradict the declared payload types.

    Args:
        images: Images with their data.
        schema: Declared types of payload keys.
        location: Whether the position is one of the details.
    """

    def detailed(image: UploadedImage) -> UploadedImage:
        if not isinstance(image.data, bytes):
            return image
        name = image.name if image.url is None else unquote(urlsplit(image.url).path)
        found = photograph_details(image.data, image.item.id, name, location=location)
        details = {key: value for key, value in found.items() if key_of_another_type({key: value}, schema) is None}
        return replace(image, details=details)

    return list(map(detailed, images))


@dataclass(slots=True)
class IndexTask:
    """All images of a request with one id and one content, processed as if they had arrived one after the other.

    Attributes:
        item_id: The caller's id in NFC, or `content_sha256`.
        content_sha256: Hex digest of `data`.
        data: The encoded image file.
        images: The images with their positions in the request, in its order; at least one.
        stored: The gallery's point of this id; None if there is none.
    """

    item_id: str
    content_sha256: str
    data: bytes
    images: list[tuple[int, UploadedImage]]
    stored: GalleryPoint | None = None

    @classmethod
    def of(cls, position: int, image: UploadedImage, payload_limits: PayloadLimits) -> IndexTask:
        """Return the task of a single image.

        Raises:
            ImageError: The request has no readable image file.
            InvalidItemsError: The id or the payload is invalid.
        """
        if isinstance(image.data, AffError):
            raise image.data
        assert image.data is not None, "fetched before"
        item_id = None if image.item.id is None else _usable_id(image.item.id, image.name)
        content_sha256 = hashlib.sha256(image.data).hexdigest()
        task = cls(item_id or content_sha256, content_sha256, image.data, [(position, image)])
        if image.item.payload is not None:
            require_storable(image.item.payload, payload_limits, item=task.label)
        return task

    @property
    def label(self) -> str:
        """Name of the image in error messages."""
        return self.images[0][1].name or self.item_id

    @property
    def needs_embedding(self) -> bool:
        """Whether the content differs from the stored image's."""
        return self.stored is None or self.stored.record.content_sha256 != self.content_sha256

    @property
    def needs_payload(self) -> bool:
        """Whether the payload differs from the stored one."""
        return self.stored is not None and not same_payload(self.payload, self._stored_payload)

    @property
    def payload(self) -> JsonObject:
        """The payload after the request: the last one in it, else the stored one; with details, if requested."""
        payload = self._stored_payload
        for _, image in self.images:
            payload = image.payload_after(payload)
        return payload

    @property
    def _stored_payload(self) -> JsonObject:
        return self.stored.record.payload if self.stored else {}

    def point(self, encoded: EncodedImage, width: int, height: int, thumbnail: bytes | None) -> GalleryPoint:
        """Return the point to write.

        Args:
            encoded: Output of the encoder.
            width: Width of the upright photograph in pixels.
            height: Height of the upright photograph in pixels.
            thumbnail: A WebP file; None for no thumbnail.
        """
        record = GalleryRecord(
            item_id=self.item_id,
            content_sha256=self.content_sha256,
            width=width,
            height=height,
            indexed_at=datetime.now(UTC),
            payload=self.payload,
            extractors=encoded.extractors,
        )
        return GalleryPoint(record, encoded.embedding, thumbnail)

    def receipts(self, written: GalleryPoint | None = None) -> list[Receipt]:
        """Return a receipt per image of a task that is done.

        Args:
            written: The new point, if the content was embedded.
        """
        point = written or self.stored
        extractors = point.record.extractors if point else None
        receipts: list[Receipt] = []
        payload = self._stored_payload
        for position, image in self.images:
            before, payload = payload, image.payload_after(payload)
            status: ReceiptStatus = "duplicate" if same_payload(before, payload) else "updated"
            if self.needs_embedding and not receipts:
                status = "updated" if self.stored else "indexed"
            receipts.append(
                Receipt(index=position, id=self.item_id, name=image.name, status=status, extractors=extractors)
            )
        return receipts

    def rejections(self, error: AffError) -> list[Receipt]:
        """Return a receipt per image of a task that failed."""
        return [_rejection(position, self.item_id, image.name, error) for position, image in self.images]


def plan_tasks(
    images: Sequence[UploadedImage], payload_limits: PayloadLimits
) -> tuple[dict[str, IndexTask], list[Receipt]]:
    """Group the images of a request by id.

    Returns:
        The tasks by item id, and the receipts of images that are rejected at once: the file, the id or the payload is
        invalid, or an earlier image of the request has the same id with other content.
    """
    tasks: dict[str, IndexTask] = {}
    rejected: list[Receipt] = []
    for position, image in enumerate(images):
        try:
            task = IndexTask.of(position, image, payload_limits)
        except AffError as error:
            rejected.append(_rejection(position, image.item.id, image.name, error))
            continue
        first = tasks.setdefault(task.item_id, task)
        if first.content_sha256 != task.content_sha256:
            detail = f"an earlier image of this request has the id {task.item_id!r} and other content"
            rejected += task.rejections(RepeatedIdError(detail, item=task.label))
        elif first is not task:
            first.images += task.images
    return tasks, rejected


def _usable_id(item_id: str, name: str | None) -> str:
    try:
        return canonical_id(require_addressable(item_id))
    except ValueError as error:
        raise InvalidItemsError(str(error), item=name or item_id) from error


def _rejection(position: int, item_id: str | None, name: str | None, error: AffError) -> Receipt:
    return Receipt(index=position, id=item_id, name=name, status="rejected", error=problem_of(error))
