"""HTTP routes that give the query encoder to devices, and gallery images to look at."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import FileResponse

from aff_shared.errors import BundleError, EncoderFileNotFoundError, ImageNotFoundError, StoreError
from aff_shared.schemas.embedding_space import Sha256
from aff_shared.schemas.examples import GRAPH_SHA256
from aff_shared.schemas.indexing import GalleryImage
from aff_shared.schemas.searching import EncoderDescription
from aff_shared.web.access_settings import Scope
from aff_shared.web.item_routes import NamedItem, item_route
from aff_shared.web.problems import problem_responses
from aff_shared.web.scoped_router import scoped_router
from aff_shared.web.thumbnails import THUMBNAIL, thumbnail_response
from query_api.components import components_of
from query_api.embedding.query_encoder import Precision
from query_api.http.encoder_files import describe_encoder, find_graph, require_whole

router = scoped_router(Scope.SEARCH)

_MEDIA_TYPE = "application/octet-stream"
_FILE = {_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
_GRAPH: dict[int | str, dict[str, Any]] = {
    200: {"description": "The graph, in ONNX.", "content": _FILE},
    206: {"description": "The parts that the header Range asks for.", "content": _FILE},
    304: {"description": "The graph that the header If-None-Match names."},
    416: {"description": "The header Range asks for what is not there."},
}


@router.get("/encoder", tags=["encoder"], responses=problem_responses(StoreError, BundleError))
async def get_encoder(request: Request) -> EncoderDescription:
    """Describe the query encoder, so that a device can embed photographs by itself."""
    return describe_encoder(await components_of(request).gallery.serving())


@router.get(
    "/encoder/model.onnx",
    tags=["encoder"],
    responses={**problem_responses(EncoderFileNotFoundError, StoreError, BundleError), **_GRAPH},
    response_class=Response,
)
async def get_encoder_model(
    request: Request,
    precision: Annotated[
        Precision | None,
        Query(description="Of the graph; else the one that the service encodes with.", examples=["int8"]),
    ] = None,
    sha256: Annotated[
        Sha256 | None,
        Query(description="Of the graph: what is given for it may be kept for ever.", examples=[GRAPH_SHA256]),
    ] = None,
) -> Response:
    """Give a graph of the query encoder."""
    serving = await components_of(request).gallery.serving()
    graph = find_graph(serving, precision, sha256)
    lasting = "public, max-age=31536000, immutable" if graph.immutable else "public, no-cache"
    headers = {"ETag": f'"{graph.sha256}"', "Cache-Control": lasting}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    await asyncio.to_thread(require_whole, graph, serving)
    return FileResponse(graph.path, media_type=_MEDIA_TYPE, headers=headers)


@item_route(
    router,
    "GET",
    "/thumbnails",
    "/images/{item_id:path}/thumbnail",
    tags=["gallery"],
    responses={**problem_responses(ImageNotFoundError, StoreError), **THUMBNAIL},
    response_class=Response,
)
async def get_thumbnail(item_id: NamedItem, request: Request) -> Response:
    """Give the thumbnail of an image."""
    store = (await components_of(request).gallery.serving()).store
    return await thumbnail_response(store, item_id, request)


@item_route(
    router,
    "GET",
    "/images",
    "/images/{item_id:path}",
    tags=["gallery"],
    responses=problem_responses(ImageNotFoundError, StoreError),
)
async def get_image(item_id: NamedItem, request: Request) -> GalleryImage:
    """Say what the gallery knows of an image."""
    points = await (await components_of(request).gallery.serving()).store.fetch([item_id])
    if item_id not in points:
        raise ImageNotFoundError("the gallery holds no image of this id", item=item_id)
    return points[item_id].record.described()
