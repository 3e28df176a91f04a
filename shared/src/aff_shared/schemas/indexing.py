"""Requests and responses of the gallery indexer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aff_shared.schemas import examples
from aff_shared.schemas.embedding_space import Sha256
from aff_shared.schemas.item_id import ItemId
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.schemas.problem import Problem

JsonObject = dict[str, Any]

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
        *(".png", ".apng", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"),
        *(".heic", ".heif", ".hif"),
    }
)
"""Suffixes of the names of image files, in lower case."""


class IndexItem(BaseModel):
    """Id and payload of one image.

    Attributes:
        id: Id of the image: 1 to 512 characters without control characters, without a part `.` or `..`, not ending
            in `/thumbnail`; stored in NFC. The default is the sha256 of the image file. A
            malformed id rejects only its image, so it is not checked here.
        payload: Any JSON object; searches return it and filter on it. Without one, an image that is already
            in the gallery keeps the payload that it has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=examples.shown(examples.INDEX_ITEM))

    id: str | None = None
    payload: JsonObject | None = None


class IndexImage(IndexItem):
    """One image of a JSON request; exactly one of `image`, `url` and `path`.

    Attributes:
        image: The encoded image file: base64 in either alphabet of RFC 4648, with or without padding and line breaks,
            or a data URL with it.
        url: URL from which the service downloads it, if the operator allows that.
        path: Path below the directory that the operator configured, if any.
    """

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.INDEX_IMAGE))

    image: str | None = None
    url: Annotated[str, Field(min_length=1, max_length=8192)] | None = None
    path: Annotated[str, Field(min_length=1, max_length=4096)] | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> IndexImage:
        if sum(source is not None for source in (self.image, self.url, self.path)) != 1:
            raise ValueError("an image needs exactly one of image, url, path")
        return self


class IndexRequest(BaseModel):
    """The JSON form of `POST /index`."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=examples.shown(examples.INDEX_REQUEST))

    images: list[IndexImage] = Field(min_length=1)


ReceiptStatus = Literal["indexed", "updated", "duplicate", "rejected"]


class Receipt(BaseModel):
    """Outcome of one image; receipts have the order of the images.

    Attributes:
        index: Position of the image in the request, from 0.
        id: Id of the image; null if it was rejected before it had one.
        name: File name of the upload, if one was sent.
        status: `indexed` (new), `updated` (same id, other content or payload), `duplicate` (nothing to
            do), `rejected` (see `error`).
        extractors: Names of the bundle's extractors that found something in the image, in the bundle's order; null
            if it was rejected, or was indexed by a release that did not store them.
        found_nothing: Names of the extractors that found nothing: for a blank image, all that detect key
            points; null if `extractors` is null.
        error: Cause of a rejection.
    """

    model_config = ConfigDict(frozen=True)

    index: int
    id: str | None
    name: str | None = None
    status: ReceiptStatus
    extractors: tuple[str, ...] | None = None
    found_nothing: tuple[str, ...] | None = None
    error: Problem | None = None


class IndexSummary(BaseModel):
    """Number of images of a request by status."""

    model_config = ConfigDict(frozen=True)

    indexed: int
    updated: int
    duplicate: int
    rejected: int

    @staticmethod
    def of(statuses: Iterable[str]) -> IndexSummary:
        """Count the statuses of receipts; or return the counts of a Counter of them."""
        counts = Counter(statuses)
        return IndexSummary(**{name: counts[name] for name in IndexSummary.model_fields})


class IndexResponse(IndexSummary):
    """Response of `POST /index`: a receipt for each image, and the number of images by status."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.INDEX_RESPONSE))

    receipts: list[Receipt]


class IndexLine(BaseModel):
    """One line of the response of `POST /index` to `Accept: application/x-ndjson`; exactly one field is set.

    Attributes:
        receipt: Receipt of an image, in the order in which images are finished; `index` identifies the image.
        summary: Last line of a successful request.
        problem: Last line of a request that failed midway; images with a receipt before it are in the gallery.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.INDEX_LINE))

    receipt: Receipt | None = None
    summary: IndexSummary | None = None
    problem: Problem | None = None


class LookupImage(BaseModel):
    """Image to look up; fields that are left out are not compared.

    Attributes:
        id: Id of the image.
        content_sha256: Hex digest of the encoded image file.
        payload: Payload of the image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    content_sha256: Sha256 | None = None
    payload: JsonObject | None = None


class LookupRequest(BaseModel):
    """Body of `POST /images/lookup`."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=examples.shown(examples.LOOKUP_REQUEST))

    images: list[LookupImage] = Field(min_length=1)


class LookupResponse(BaseModel):
    """Response of `POST /images/lookup`.

    Attributes:
        up_to_date: Ids of images that need not be sent: the gallery has them with this content and payload.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.LOOKUP_RESPONSE))

    up_to_date: list[str]


class GalleryImage(BaseModel):
    """An image of the gallery.

    Attributes:
        width: Pixels of the upright photograph.
        height: Pixels of the upright photograph.
        extractors: Names of the extractors that found something in it; null if the release that indexed it did not
            store them.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.GALLERY_IMAGE))

    id: str
    content_sha256: Sha256
    width: int
    height: int
    indexed_at: datetime
    extractors: tuple[str, ...] | None = None
    payload: JsonObject


class DeleteResponse(BaseModel):
    """Response of `DELETE /images/{id}`."""

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.DELETE_RESPONSE))

    id: str
    deleted: Literal[True] = True


class DeleteRequest(BaseModel):
    """Body of `POST /images/delete`; exactly one of its fields.

    Attributes:
        ids: Ids of images; those that the gallery does not have are ignored.
        filter: Payload filter of the images to delete.
        all: Delete every image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=examples.shown(examples.DELETE_REQUEST))

    ids: Annotated[list[ItemId], Field(min_length=1, max_length=10_000)] | None = None
    filter: PayloadFilter | None = None
    all: Literal[True] | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> DeleteRequest:
        if sum(part is not None for part in (self.ids, self.filter, self.all)) != 1:
            raise ValueError("exactly one of ids, filter, all")
        return self


class DeletedImages(BaseModel):
    """Response of `POST /images/delete`: number of deleted images of the live collection."""

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.DELETED_IMAGES))

    deleted: int
