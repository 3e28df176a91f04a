"""HTTP routes for browsing: images of the gallery, their thumbnails and originals, and the values of payload keys."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import TypeAdapter

from aff_shared.errors import ImageNotFoundError, InvalidFilterError, InvalidParameterError, StoreError
from aff_shared.schemas.browsing import FacetOptions, FacetsResponse, GalleryImages, ListOptions, PageConfig
from aff_shared.schemas.examples import GALLERY_IMAGES
from aff_shared.schemas.indexing import GalleryImage
from aff_shared.schemas.item_id import ItemId, other_spellings
from aff_shared.web.problems import problem_responses
from aff_shared.web.routing import (
    ID_PARAMETER,
    THUMBNAIL,
    NamedItem,
    is_unchanged,
    item_route,
    named_item,
    scoped_router,
    thumbnail_response,
)
from aff_shared.web.settings import Scope
from query_api.components import components_of
from query_api.http.read_search_request import query_parameters, read_options

router = scoped_router(Scope.SEARCH, tags=["gallery"])
page_router = APIRouter()

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_ORIGINAL: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"image/*": _BINARY, "application/octet-stream": _BINARY}},
    206: {"description": "The parts that the header Range selects.", "content": {"image/*": _BINARY}},
    304: {"description": "The file that the header If-None-Match names."},
    416: {"description": "The header Range selects bytes outside the file."},
}
# Beginnings of files that every browser shows, and that hold no scripts; other files are downloaded.
_SHOWN = {
    re.compile(rb"\xff\xd8\xff"): "image/jpeg",
    re.compile(rb"\x89PNG\r\n\x1a\n"): "image/png",
    re.compile(rb"GIF8[79]a"): "image/gif",
    re.compile(rb"RIFF....WEBP", re.DOTALL): "image/webp",
    re.compile(rb"....ftypavi[fs]", re.DOTALL): "image/avif",
    re.compile(rb"BM"): "image/bmp",
}
_DOWNLOADED = "application/octet-stream"
_ID: dict[str, Any] = {"required": True, "schema": TypeAdapter(ItemId).json_schema(), "description": "Id of the image."}
_BY_QUERY, _BY_PATH = _ID | {"name": ID_PARAMETER, "in": "query"}, _ID | {"name": "item_id", "in": "path"}
_ONE_IMAGE = _BY_QUERY | {
    "required": False,
    "description": "Id of one image, which is the response; the rest is ignored.",
}


@item_route(
    router,
    "GET",
    "/thumbnails",
    "/images/{item_id:path}/thumbnail",
    responses={**problem_responses(ImageNotFoundError, StoreError), **THUMBNAIL},
    response_class=Response,
)
async def get_thumbnail(item_id: NamedItem, request: Request) -> Response:
    """Return the thumbnail of an image."""
    store = (await components_of(request).gallery.serving()).store
    return await thumbnail_response(store, item_id, request)


@router.get(
    "/images",
    responses={
        **problem_responses(InvalidParameterError, InvalidFilterError, ImageNotFoundError, StoreError),
        200: {"content": {"application/json": {"example": GALLERY_IMAGES}}},
    },
    openapi_extra={"parameters": [_ONE_IMAGE, *query_parameters(ListOptions)]},
)
async def list_images(request: Request) -> GalleryImages | GalleryImage:
    """Return a page of the gallery; with an id, what the gallery stores about that image."""
    if ID_PARAMETER in request.query_params:
        return await _image(await named_item(request), request)
    components = components_of(request)
    options = read_options(ListOptions, request, max_limit=components.settings.max_limit)
    return await components.browse_gallery.images(options)


@router.get(
    "/images/{item_id:path}",
    responses=problem_responses(ImageNotFoundError, StoreError),
    openapi_extra={"parameters": [_BY_PATH]},
)
async def get_image(item_id: NamedItem, request: Request) -> GalleryImage:
    """Return what the gallery stores about an image."""
    return await _image(item_id, request)


@router.get(
    "/facets",
    responses=problem_responses(InvalidParameterError, InvalidFilterError, StoreError),
    openapi_extra={"parameters": query_parameters(FacetOptions)},
)
async def get_facets(request: Request) -> FacetsResponse:
    """Return the values of the declared payload keys, with the number of images that have each.

    The most frequent values are first; of dates, the latest year. Keys of the types `float` and `geo`, and those
    whose values identify single images, have none.
    """
    components = components_of(request)
    options = read_options(FacetOptions, request, max_limit=components.settings.max_limit)
    return await components.browse_gallery.facets(options)


@router.get(
    "/originals",
    responses={**problem_responses(ImageNotFoundError, StoreError), **_ORIGINAL},
    response_class=Response,
    openapi_extra={"parameters": [_BY_QUERY]},
)
async def get_original(
    item_id: NamedItem,
    request: Request,
    download: Annotated[
        bool, Query(description="Whether browsers store the file instead of showing it.", examples=[True])
    ] = False,
) -> Response:
    """Return the file of an image, if the operator has configured the directory of the photographs."""
    await _image(item_id, request)
    directory = components_of(request).settings.originals_dir
    path = None if directory is None else await asyncio.to_thread(find_original, directory, item_id)
    if path is None:
        raise ImageNotFoundError("the file of this image is not available", item=item_id)
    try:
        kind = await asyncio.to_thread(media_type_of, path)
        status = await asyncio.to_thread(path.stat)
    except OSError as error:  # it was removed in the meantime, or may not be read
        raise ImageNotFoundError("the file of this image cannot be read", item=item_id) from error
    placement = "inline" if kind in _SHOWN.values() and not download else "attachment"
    response = FileResponse(
        path,
        media_type=kind,
        stat_result=status,
        headers={
            "Cache-Control": "private, no-cache",
            "Content-Disposition": f"{placement}; filename*=UTF-8''{quote(path.name, safe='')}",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
        },
    )
    kept = {name: response.headers[name] for name in ("etag", "cache-control")}
    if is_unchanged(request, kept["etag"]):
        return Response(status_code=304, headers=kept)
    return response


@page_router.get("/page/config.json", tags=["operation"])
async def get_page_config(request: Request) -> PageConfig:
    """Return the settings of the search page."""
    settings = components_of(request).settings
    return PageConfig(
        indexer=settings.page_indexer_url or None,
        originals=settings.originals_dir is not None,
        schema_=settings.store.indexed_keys,
        max_limit=settings.max_limit,
        version=request.app.version,
    )


def find_original(directory: Path, item_id: str) -> Path | None:
    """Return the file that an id names below a directory, in any Unicode normalisation; None if there is none.

    Links are followed if they lead to a place below the directory.
    """
    root = directory.resolve()
    for spelling in (item_id, *other_spellings(item_id)):
        try:
            path = (root / spelling).resolve(strict=True)
            if path.is_relative_to(root) and path.is_file():
                return path
        except (OSError, RuntimeError, ValueError):  # no such file; a loop of links; a zero byte
            continue
    return None


def media_type_of(path: Path) -> str:
    """Return the media type of a file by its content, if browsers show it, otherwise that of bytes."""
    with path.open("rb") as file:
        head = file.read(16)
    return next((kind for beginning, kind in _SHOWN.items() if beginning.match(head)), _DOWNLOADED)


async def _image(item_id: str, request: Request) -> GalleryImage:
    points = await (await components_of(request).gallery.serving()).store.fetch([item_id])
    if item_id not in points:
        raise ImageNotFoundError("the gallery holds no image of this id", item=item_id)
    return points[item_id].record.described()
