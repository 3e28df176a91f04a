"""HTTP routes of searching."""

from __future__ import annotations

import numpy as np
from fastapi import APIRouter, Request
from starlette.types import Receive, Send
from starlette.types import Scope as ConnectionScope

from aff_shared.errors import (
    AffError,
    EmbeddingsCancelError,
    EncoderError,
    EncoderMismatchError,
    ImageError,
    ImageNotFoundError,
    InvalidCropError,
    InvalidEmbeddingError,
    InvalidFilterError,
    StoreError,
    TooManyImagesError,
)
from aff_shared.schemas.payload_filter import parse_filter
from aff_shared.schemas.problem import problem_of
from aff_shared.schemas.searching import (
    BatchResponse,
    BatchResult,
    EmbeddingSearch,
    SearchOptions,
    SearchResponse,
)
from aff_shared.schemas.service import Readiness
from aff_shared.web.middleware import HttpMiddleware, route_path
from aff_shared.web.problems import problem_responses
from aff_shared.web.routing import ID_PARAMETER, NamedItem, item_route, scoped_router
from aff_shared.web.settings import Scope
from query_api.components import components_of
from query_api.http.read_search_request import described_request, query_parameters, read_options, read_photograph_search
from query_api.search.search_query import search_query

router = scoped_router(Scope.SEARCH)
operation_router = APIRouter()

_ANY_SEARCH: tuple[type[AffError], ...] = (InvalidFilterError, StoreError)
_WITH_PHOTOGRAPHS = (*_ANY_SEARCH, InvalidCropError, TooManyImagesError, ImageError, EncoderError)


@router.post(
    "/search",
    tags=["search"],
    responses=problem_responses(*_WITH_PHOTOGRAPHS, EmbeddingsCancelError),
    openapi_extra=described_request(
        "The photograph, or several of the same thing: their mean is searched with.", raw=True
    ),
)
async def search(request: Request) -> SearchResponse:
    """Find the gallery images that show the same thing as a photograph.

    Send the photograph as the field `image` of a form, or as the body itself. Options are query parameters or
    fields of the form; none may be given twice. Several photographs of the same thing make one query.
    """
    components = components_of(request)
    asked = await read_photograph_search(request, components.settings)
    return await components.search_gallery.search(asked.photographs, asked.wanted)


@router.post(
    "/search/batch",
    tags=["search"],
    responses=problem_responses(*_WITH_PHOTOGRAPHS),
    openapi_extra=described_request("The photographs: each is searched with by itself.", raw=False),
)
async def search_batch(request: Request) -> BatchResponse:
    """Search with several photographs at once, each by itself; a bad one gives its error in its place."""
    components = components_of(request)
    asked = await read_photograph_search(request, components.settings)
    results = await components.search_gallery.search_each(asked.photographs, asked.wanted)
    return BatchResponse(
        results=[
            BatchResult(name=name, error=problem_of(result))
            if isinstance(result, AffError)
            else BatchResult(name=name, result=result)
            for name, result in zip(asked.names, results, strict=True)
        ]
    )


@router.post(
    "/search/embedding",
    tags=["search"],
    responses=problem_responses(*_ANY_SEARCH, EncoderMismatchError, InvalidEmbeddingError),
)
async def search_embedding(asked: EmbeddingSearch, request: Request) -> SearchResponse:
    """Search with an embedding that a device made by itself, with the encoder of `GET /encoder`."""
    components = components_of(request)
    wanted = search_query(asked, asked.filter, components.settings)
    embedding = np.asarray(asked.embedding, dtype=np.float64)
    return await components.search_gallery.search_embedding(embedding, asked.fingerprint, wanted)


@item_route(
    router,
    "POST",
    "/search/similar",
    "/search/similar/{item_id:path}",
    tags=["search"],
    responses=problem_responses(*_ANY_SEARCH, ImageNotFoundError),
    openapi_extra={"parameters": query_parameters(SearchOptions)},
)
async def search_similar(item_id: NamedItem, request: Request) -> SearchResponse:
    """Find what is like an image of the gallery; it is no hit itself."""
    components = components_of(request)
    options = read_options(SearchOptions, request, passed_over={ID_PARAMETER})
    wanted = search_query(options, parse_filter(options.filter), components.settings)
    return await components.search_gallery.search_similar(item_id, wanted)


@operation_router.get("/readyz", tags=["operation"], responses=problem_responses(StoreError))
async def readyz(request: Request) -> Readiness:
    """Say that searches can be answered now: the gallery is there, in the encoder's embedding space."""
    manifest = (await components_of(request).gallery.require_live()).manifest
    return Readiness(bundle=manifest.name, fingerprint=manifest.fingerprint)


class LoadSheddingMiddleware(HttpMiddleware):
    """ASGI middleware: raises ServiceOverloadedError for a search before its body is read, if the queue is full."""

    async def serve(self, scope: ConnectionScope, receive: Receive, send: Send) -> None:
        """See HttpMiddleware."""
        if route_path(scope).startswith("/search"):
            scope["app"].state.components.queue.require_room()
        await self._app(scope, receive, send)
