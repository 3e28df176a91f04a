"""One entry of the gallery, with the images of a request that claim it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from aff_shared.errors import AffError
from aff_shared.schemas.indexing import JsonObject, Receipt
from aff_shared.store.gallery_store import GalleryPoint, GalleryRecord
from gallery_indexer.indexing.encoded_record import EncodedRecord
from gallery_indexer.indexing.identified_image import IdentifiedImage
from gallery_indexer.indexing.payload_limits import same_payload


@dataclass(frozen=True, slots=True)
class IndexTask:
    """What a request does to one id: as if its images had come one after the other.

    Attributes:
        images: Images of this id and of one content, in the request's order; at least one.
        stored: What the gallery holds under the id.
    """

    images: tuple[IdentifiedImage, ...]
    stored: GalleryPoint | None

    @property
    def needs_embedding(self) -> bool:
        """Whether the content is not the one that was embedded."""
        return self.stored is None or self.stored.record.content_sha256 != self.images[0].content_sha256

    @property
    def payload(self) -> JsonObject:
        """The payload once the request is done: the last one given, else the stored one."""
        given = [image.payload for image in self.images if image.payload is not None]
        return given[-1] if given else self._stored_payload

    @property
    def _stored_payload(self) -> JsonObject:
        return self.stored.record.payload if self.stored else {}

    def embedded_point(self, embedded: EncodedRecord) -> GalleryPoint:
        """Return the point of a new content."""
        record = GalleryRecord(
            item_id=self.images[0].item_id,
            content_sha256=self.images[0].content_sha256,
            width=embedded.width,
            height=embedded.height,
            indexed_at=datetime.now(UTC),
            payload=self.payload,
            extractors=embedded.extractors,
        )
        return GalleryPoint(record, embedded.embedding, embedded.thumbnail)

    @property
    def needs_payload(self) -> bool:
        """Whether what is stored has another payload."""
        return self.stored is not None and not same_payload(self.payload, self._stored_payload)

    def receipts(self, embedded: EncodedRecord | None = None) -> list[Receipt]:
        """Return a receipt per image, for an entry that is in the gallery now.

        Args:
            embedded: What a new content became.
        """
        receipts = []
        known = embedded if embedded is not None else self.stored.record if self.stored else None
        extractors = known.extractors if known else None
        payload = self._stored_payload
        for image in self.images:
            changed = image.payload is not None and not same_payload(image.payload, payload)
            receipts.append(image.receipt("updated" if changed else "duplicate", extractors))
            payload = payload if image.payload is None else image.payload
        if self.needs_embedding:
            receipts[0] = self.images[0].receipt("updated" if self.stored else "indexed", extractors)
        return receipts

    def rejections(self, error: AffError) -> list[Receipt]:
        """Return a receipt per image, for an entry whose content cannot be embedded."""
        return [image.rejection(error) for image in self.images]


def group_by_id(
    images: Iterable[IdentifiedImage],
) -> tuple[dict[str, list[IdentifiedImage]], list[IdentifiedImage]]:
    """Bring together what shares an id.

    Returns:
        Images of one id and one content, by id; and those whose id stands before them with other content.
    """
    groups: dict[str, list[IdentifiedImage]] = {}
    conflicting = []
    for image in images:
        group = groups.setdefault(image.item_id, [])
        if group and group[0].content_sha256 != image.content_sha256:
            conflicting.append(image)
        else:
            group.append(image)
    return groups, conflicting
