"""An image of a request with its place in the gallery."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from aff_shared.errors import AffError, InvalidItemsError
from aff_shared.schemas.indexing import JsonObject, Receipt
from aff_shared.schemas.item_id import canonical_id, require_addressable
from aff_shared.schemas.problem import problem_of
from gallery_indexer.indexing.payload_limits import PayloadLimits, require_storable
from gallery_indexer.indexing.uploaded_image import UploadedImage


@dataclass(frozen=True, slots=True)
class IdentifiedImage:
    """An image of a request that can be looked up in the gallery.

    Attributes:
        index: Position of the image in the request, from 0.
        name: File name of the upload, where one was sent.
        item_id: The caller's id in NFC, or `content_sha256`.
        data: The encoded image file.
        content_sha256: Hex digest of `data`.
        payload: The caller's JSON object; None leaves what the gallery holds.
    """

    index: int
    name: str | None
    item_id: str
    data: bytes
    content_sha256: str
    payload: JsonObject | None

    @property
    def label(self) -> str:
        """What error messages call the image."""
        return self.name or self.item_id

    def receipt(
        self, status: Literal["indexed", "updated", "duplicate"], extractors: tuple[str, ...] | None
    ) -> Receipt:
        """Say what became of the image, and which extractors found something in it where that is known."""
        return Receipt(index=self.index, id=self.item_id, name=self.name, status=status, extractors=extractors)

    def rejection(self, error: AffError) -> Receipt:
        """Say why the image is not in the gallery."""
        return reject(self.index, self.item_id, self.name, error)


def identify(index: int, image: UploadedImage, payload_limits: PayloadLimits) -> IdentifiedImage:
    """Give an image its id.

    Raises:
        ImageError: The image could not be taken out of the request.
        InvalidItemsError: A new image may not have the id, or the payload cannot be stored.
    """
    if isinstance(image.data, AffError):
        raise image.data
    assert isinstance(image.data, bytes), "locations are fetched before"
    item_id = None if image.item.id is None else _usable_id(image.item.id, image.name)
    content_sha256 = hashlib.sha256(image.data).hexdigest()
    identified = IdentifiedImage(
        index=index,
        name=image.name,
        item_id=item_id or content_sha256,
        data=image.data,
        content_sha256=content_sha256,
        payload=image.item.payload,
    )
    if identified.payload is not None:
        require_storable(identified.payload, payload_limits, item=identified.label)
    return identified


def _usable_id(item_id: str, name: str | None) -> str:
    try:
        return canonical_id(require_addressable(item_id))
    except ValueError as error:
        raise InvalidItemsError(str(error), item=name or item_id) from error


def reject(index: int, item_id: str | None, name: str | None, error: AffError) -> Receipt:
    """Make the receipt of a rejected image."""
    return Receipt(index=index, id=item_id, name=name, status="rejected", error=problem_of(error))
