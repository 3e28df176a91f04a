"""Request and response of `POST /index`: images from a form or from JSON; receipts, as lines on request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Self, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.types import Receive, Scope, Send

from aff_shared.errors import (
    AffError,
    ImageError,
    InvalidItemsError,
    InvalidParameterError,
    RequestError,
    TooManyImagesError,
)
from aff_shared.schemas.examples import INDEX_REQUEST
from aff_shared.schemas.indexing import IndexImage, IndexItem, IndexLine, IndexRequest, IndexSummary, Receipt
from aff_shared.schemas.payload_filter import describe_validation_error
from aff_shared.schemas.problem import problem_of
from aff_shared.schemas.text_forms import decode_base64
from aff_shared.web.routing import reference
from aff_shared.web.uploads import UploadForm, is_form, read_form
from gallery_indexer.indexing.index_task import UploadedImage

_Document = TypeVar("_Document")

_ITEMS = TypeAdapter(list[IndexItem])
_REQUEST = TypeAdapter(IndexRequest)
_FORM_FIELDS = {"images", "items"}

REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "additionalProperties": False,
                "properties": {
                    "images": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                        "description": "Image files.",
                    },
                    "items": {
                        "type": "array",
                        "items": IndexItem.model_json_schema(),
                        "description": "Id and payload of each image, in the order of `images`: one part per image, or "
                        "one part with a list.",
                    },
                },
            },
            "encoding": {"items": {"contentType": "application/json"}},
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "additionalProperties": False,
                "properties": {"images": {"type": "array", "minItems": 1, "items": IndexImage.model_json_schema()}},
            },
            "example": INDEX_REQUEST,
        },
    },
}
"""OpenAPI description of the two forms."""


async def read_index_request(request: Request, *, max_images: int, max_items_bytes: int) -> list[UploadedImage]:
    """Read a multipart form, or JSON with base64.

    Args:
        request: The request; the size of its body is already limited.
        max_images: Largest number of images in a request.
        max_items_bytes: Largest size of the JSON text in a form.

    Raises:
        TooManyImagesError: There are more than `max_images`.
        InvalidItemsError: The JSON is malformed or does not match the images.
        InvalidParameterError: There are no images, or there is an unknown field.
        RequestError: The content type is neither of the two.
    """
    if is_form(request):
        # One file more than images: many clients send the items as a file too.
        form = await read_form(request, file_field="images", max_files=max_images + 1, max_text_bytes=max_items_bytes)
        images = await asyncio.to_thread(_from_form, form)
    elif request.headers.get("content-type", "").lower().startswith("application/json"):
        images = await asyncio.to_thread(_from_json, await request.body())
    else:
        raise RequestError("send multipart/form-data or application/json", item="content-type")
    if len(images) > max_images:
        raise TooManyImagesError(f"{len(images)} images, the limit is {max_images} in one request")
    return images


def _from_form(form: UploadForm) -> list[UploadedImage]:
    unknown = form.parts.keys() - _FORM_FIELDS
    if unknown:
        raise InvalidParameterError("the form may only have the fields images and items", item=min(unknown))
    files = form.files("images")
    if not files:
        raise InvalidParameterError("at least one image file is required", item="images")
    items = _read_items(form.texts("items"), len(files))
    return [UploadedImage(data=file.data, name=file.name, item=item) for file, item in zip(files, items, strict=True)]


def _read_items(texts: Sequence[str], count: int) -> Sequence[IndexItem]:
    """Read one part with a list, or one part per item, as OpenAPI clients send it."""
    parts = [_json(text.encode(errors="replace"), "items") for text in texts if text.strip()]
    if not parts:
        return [IndexItem()] * count
    document = parts[0] if len(parts) == 1 and not isinstance(parts[0], dict) else parts
    items = _validated(_ITEMS, document, "items")
    if len(items) != count:
        raise InvalidItemsError(f"{len(items)} items for {count} images", item="items")
    return items


def _from_json(body: bytes) -> list[UploadedImage]:
    images = _validated(_REQUEST, _json(body, "body"), "body").images
    return [_from_item(index, image) for index, image in enumerate(images)]


def _from_item(index: int, image: IndexImage) -> UploadedImage:
    item = IndexItem(id=image.id, payload=image.payload)
    if image.image is None:
        return UploadedImage(data=None, name=image.url or image.path, item=item, url=image.url, path=image.path)
    try:
        return UploadedImage(data=decode_base64(image.image), item=item)
    except ValueError as error:
        return UploadedImage(data=ImageError(str(error), item=image.id or f"images[{index}]"), item=item)


def _json(text: bytes, item: str) -> Any:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidItemsError(f"not JSON: {error}", item=item) from error


def _validated(adapter: TypeAdapter[_Document], document: Any, item: str) -> _Document:
    try:
        return adapter.validate_python(document)
    except ValidationError as error:
        raise InvalidItemsError(describe_validation_error(error), item=item) from error


_MEDIA_TYPE = "application/x-ndjson"

RECEIPT_LINES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A receipt per image; as lines of one `IndexLine` each if the client accepts them.",
        "content": {_MEDIA_TYPE: {"schema": reference(IndexLine)}},
    }
}
"""OpenAPI description of the response."""

_logger = logging.getLogger(__name__)


def accepts_lines(request: Request) -> bool:
    """Return whether the client accepts newline-delimited JSON."""
    return _MEDIA_TYPE in request.headers.get("accept", "").lower()


class ReceiptLines(StreamingResponse):
    """A response with one IndexLine per line.

    Args:
        first: The first receipt.
        others: The other receipts; closed when the response ends, also if it fails.
    """

    def __init__(self, first: Receipt, others: AsyncGenerator[Receipt, None]) -> None:
        super().__init__(_lines(first, others), media_type=_MEDIA_TYPE)
        self._receipts = others

    @classmethod
    async def begin(cls, receipts: AsyncGenerator[Receipt, None]) -> Self:
        """Wait for the first receipt, so that a request that fails before it has the status of its error.

        Raises:
            StoreError: The store failed before the first receipt.
        """
        return cls(await anext(receipts), receipts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines; if the client disconnects, the remaining images are cancelled."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._receipts.aclose()


async def _lines(first: Receipt, others: AsyncGenerator[Receipt, None]) -> AsyncGenerator[bytes, None]:
    statuses = [first.status]
    yield _line(IndexLine(receipt=first))
    try:
        async for receipt in others:
            statuses.append(receipt.status)
            yield _line(IndexLine(receipt=receipt))
    except AffError as error:
        _logger.warning("indexing stopped early: %s", error)
        yield _line(IndexLine(problem=problem_of(error)))
    else:
        yield _line(IndexLine(summary=IndexSummary.of(statuses)))


def _line(line: IndexLine) -> bytes:
    return line.model_dump_json(exclude_none=True).encode(errors="replace") + b"\n"
