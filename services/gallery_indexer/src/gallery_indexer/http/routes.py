"""HTTP routes of the gallery indexer."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic_core import from_json

from aff_shared.errors import (
    EncoderMissingError,
    ImageNotFoundError,
    InvalidItemsError,
    InvalidParameterError,
    StoreError,
    TooManyImagesError,
    WorkerError,
)
from aff_shared.schemas.examples import PAYLOAD, PAYLOAD_PATCH
from aff_shared.schemas.indexing import (
    DeletedImages,
    DeleteRequest,
    DeleteResponse,
    GalleryImage,
    IndexResponse,
    IndexSummary,
    JsonObject,
    LookupRequest,
    LookupResponse,
)
from aff_shared.schemas.service import REQUEST_ID_PARAMETER, Readiness
from aff_shared.store.gallery_store import GalleryRecord
from aff_shared.web.body_limits import place_of
from aff_shared.web.problems import problem_responses
from aff_shared.web.routing import THUMBNAIL, NamedItem, item_route, scoped_router, thumbnail_response
from aff_shared.web.settings import Scope
from gallery_indexer.collections.edit_gallery import merged
from gallery_indexer.components import Components, CurrentComponents
from gallery_indexer.http.index_messages import (
    RECEIPT_LINES,
    REQUEST_BODY,
    ReceiptLines,
    accepts_lines,
    read_index_request,
)
from gallery_indexer.indexing.index_task import with_details

router = scoped_router(Scope.INDEX)
operation_router = APIRouter()

_IMAGE = ("/images", "/images/{item_id:path}")
_SCHEMA = {"type": "object", "additionalProperties": True}  # a generated client sends nothing without the second

AddDetails = Annotated[
    bool,
    Query(
        description="Add what the payloads lack of: file_name and folder (from the id, if it is a path), taken_at, "
        "camera and location (from EXIF).",
        examples=[True],
    ),
]

_PATCH = {"schema": {"title": "PayloadPatch", **_SCHEMA}, "example": PAYLOAD_PATCH}
_PATCH_BODY = {"required": True, "content": {"application/json": _PATCH, "application/merge-patch+json": _PATCH}}
_PAYLOAD_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"title": "Payload", **_SCHEMA}, "example": PAYLOAD}},
}


@router.post(
    "/index",
    tags=["gallery"],
    response_model=IndexResponse,
    responses={
        **problem_responses(InvalidItemsError, TooManyImagesError, EncoderMissingError, StoreError, WorkerError),
        **RECEIPT_LINES,
    },
    openapi_extra={"requestBody": REQUEST_BODY, "parameters": [REQUEST_ID_PARAMETER]},
)
async def index_images(
    request: Request, components: CurrentComponents, details: AddDetails = False
) -> IndexResponse | Response:
    """Index images; returns a receipt per image, in order. A bad image is rejected alone.

    The same content under the same id is a duplicate and is not embedded again; other content replaces it. With
    `Accept: application/x-ndjson`, each receipt is sent as soon as its image is done.
    """
    settings = components.settings
    images = await read_index_request(
        request, max_images=settings.max_images_per_request, max_items_bytes=settings.max_body_bytes
    )
    if any(image.data is None for image in images):
        place_of(request).take(settings.max_body_bytes)  # for the images to fetch, whose sizes are unknown
        images = await components.remote_image_loader.fetch(images)
    if details:
        schema = settings.store.payload_schema
        images = await asyncio.to_thread(with_details, images, schema, location=settings.location)
    if accepts_lines(request):
        return await ReceiptLines.begin(components.collections.receipts(images))
    receipts = await components.collections.index(images)
    counts = IndexSummary.of(receipt.status for receipt in receipts)
    return IndexResponse(receipts=receipts, **counts.model_dump())


@router.post(
    "/images/lookup",
    tags=["gallery"],
    responses=problem_responses(TooManyImagesError, EncoderMissingError, StoreError),
)
async def lookup_images(body: LookupRequest, components: CurrentComponents) -> LookupResponse:
    """Return which images are in the gallery already and need not be sent; nothing is written."""
    limit = components.settings.max_images_per_request
    if len(body.images) > limit:
        raise TooManyImagesError(f"{len(body.images)} images, the limit is {limit} in one request")
    return LookupResponse(up_to_date=await components.collections.up_to_date(body.images))


@item_route(
    router,
    "GET",
    "/thumbnails",
    "/images/{item_id:path}/thumbnail",
    tags=["gallery"],
    responses={**problem_responses(ImageNotFoundError, StoreError), **THUMBNAIL},
    response_class=Response,
)
async def get_thumbnail(item_id: NamedItem, request: Request, components: CurrentComponents) -> Response:
    """Return the thumbnail of an image."""
    store = await components.collections.live_store()
    return await thumbnail_response(store, item_id, request)


@item_route(router, "GET", *_IMAGE, tags=["gallery"], responses=problem_responses(ImageNotFoundError, StoreError))
async def get_image(item_id: NamedItem, components: CurrentComponents) -> GalleryImage:
    """Return the record of an image."""
    return (await _find(components, item_id)).described()


@item_route(router, "DELETE", *_IMAGE, tags=["gallery"], responses=problem_responses(ImageNotFoundError, StoreError))
async def delete_image(item_id: NamedItem, components: CurrentComponents) -> DeleteResponse:
    """Delete an image from the gallery."""
    record = await _find(components, item_id)
    await components.edit_gallery.delete([record.item_id])
    return DeleteResponse(id=record.item_id)


@router.post("/images/delete", tags=["gallery"], responses=problem_responses(InvalidParameterError, StoreError))
async def delete_images(body: DeleteRequest, components: CurrentComponents) -> DeletedImages:
    """Delete images from the gallery: by their ids, by a filter on their payloads, or all of them."""
    edit = components.edit_gallery
    if body.ids is not None:
        return DeletedImages(deleted=await edit.delete(body.ids))
    if body.filter is not None:
        return DeletedImages(deleted=await edit.delete_matching(body.filter))
    return DeletedImages(deleted=await edit.delete_all())


@item_route(
    router,
    "PATCH",
    *_IMAGE,
    tags=["gallery"],
    responses=problem_responses(ImageNotFoundError, InvalidItemsError, StoreError),
    openapi_extra={"requestBody": _PATCH_BODY, "parameters": [REQUEST_ID_PARAMETER]},
)
async def change_payload(item_id: NamedItem, request: Request, components: CurrentComponents) -> GalleryImage:
    """Merge the body into the payload of an image (RFC 7396): null removes a key, and other keys are not changed."""
    patch = await _json_object(request)
    await components.edit_gallery.change_payload(item_id, lambda payload: merged(payload, patch))
    return await get_image(item_id, components)


@item_route(
    router,
    "PUT",
    *_IMAGE,
    tags=["gallery"],
    responses=problem_responses(ImageNotFoundError, InvalidItemsError, StoreError),
    openapi_extra={"requestBody": _PAYLOAD_BODY, "parameters": [REQUEST_ID_PARAMETER]},
)
async def replace_payload(item_id: NamedItem, request: Request, components: CurrentComponents) -> GalleryImage:
    """Replace the payload of an image by the body."""
    payload = await _json_object(request)
    await components.edit_gallery.change_payload(item_id, lambda _: payload)
    return await get_image(item_id, components)


@operation_router.get("/readyz", tags=["operation"], responses=problem_responses(StoreError))
async def readyz(components: CurrentComponents) -> Readiness:
    """Report whether the gallery can be used; creates it if there is none yet."""
    manifest = await components.collections.ready()
    return Readiness(bundle=manifest.name, fingerprint=manifest.fingerprint)


async def _find(components: Components, item_id: str) -> GalleryRecord:
    points = await (await components.collections.live_store()).fetch([item_id])
    if item_id not in points:
        raise ImageNotFoundError("the gallery has no image with this id", item=item_id)
    return points[item_id].record


async def _json_object(request: Request) -> JsonObject:
    """Return the body.

    Raises:
        InvalidItemsError: The body is not a JSON object.
    """
    try:
        document = from_json(await request.body(), allow_inf_nan=False)
    except ValueError as error:
        raise InvalidItemsError(f"not JSON: {error}", item="body") from error
    if not isinstance(document, dict):
        raise InvalidItemsError("a payload has to be a JSON object", item="body")
    return document
