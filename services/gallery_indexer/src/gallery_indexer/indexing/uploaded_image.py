"""An image as a request brought it."""

from __future__ import annotations

from dataclasses import dataclass, field

from aff_shared.errors import AffError
from aff_shared.schemas.indexing import IndexItem


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """Where an image lies that a request only names; one of the two is set."""

    url: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class UploadedImage:
    """An image of a request, before anything is known of it.

    Attributes:
        data: The encoded image file, why it could not be taken out of the request, or where it lies.
        name: File name of the upload, where one was sent.
        item: What the caller says of it.
    """

    data: bytes | AffError | ImageLocation
    name: str | None = None
    item: IndexItem = field(default_factory=IndexItem)
