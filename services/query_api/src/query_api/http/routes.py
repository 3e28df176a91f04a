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
    EncoderMissingError,
    ImageError,
    ImageNotFoundError,
    InvalidCropError,
    InvalidEmbeddingError,
    InvalidFilterError,
    StoreError,
    TooManyImagesError,
)
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
from query_api.http.read_search_request import (
    described_request,
    query_parameters,
    read_options,
    read_photograph_search,
    require_limit,
)

router = scoped_router(Scope.SEARCH)
operation_router = APIRouter()

_ANY_SEARCH: tuple[type[AffError], ...] = (InvalidFilterError, StoreError)
_WITH_PHOTOGRAPHS = (*_ANY_SEARCH, InvalidCropError, TooManyImagesError, ImageError, EncoderError, EncoderMissingError)


@router.post(
    "/search",
    tags=["search"],
    responses=problem_responses(*_WITH_PHOTOGRAPHS, EmbeddingsCancelError),
    openapi_extra=described_request("One photograph, or several of the same thing, whose mean is the query.", raw=True),
)
async def search(request: Request) -> SearchResponse:
    """Find the gallery images that show the same thing as a photograph.

    Send the photograph as the field `image` of a form, or as the request body. Options are query parameters or
    fields of the form; each may be sent once. Several photographs of the same thing are combined into one query.
    """
    components = components_of(request)
    received = await read_photograph_search(request, components.settings)
    return await components.search_gallery.search(received.photographs, received.options)


@router.post(
    "/search/batch",
    tags=["search"],
    responses=problem_responses(*_WITH_PHOTOGRAPHS),
    openapi_extra=described_request("Photographs; each is a separate query.", raw=False),
)
async def search_batch(request: Request) -> BatchResponse:
    """Search with several photographs, one query each; the result of an unusable photograph is its error."""
    components = components_of(request)
    received = await read_photograph_search(request, components.settings)
    results = await components.search_gallery.search_each(received.photographs, received.options)
    return BatchResponse(
        results=[
            BatchResult(name=name, error=problem_of(result))
            if isinstance(result, AffError)
            else BatchResult(name=name, result=result)
            for name, result in zip(received.names, results, strict=True)
        ]
    )


@router.post(
    "/search/embedding",
    tags=["search"],
    responses=problem_responses(*_ANY_SEARCH, EncoderMismatchError, InvalidEmbeddingError),
)
async def search_embedding(received: EmbeddingSearch, request: Request) -> SearchResponse:
    """Search with an embedding that the client computed with the encoder of `GET /encoder`."""
    components = components_of(request)
    require_limit(received, components.settings.max_limit)
    embedding = np.asarray(received.embedding, dtype=np.float64)
    return await components.search_gallery.search_embedding(embedding, received.fingerprint, received)


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
    """Find images similar to an image of the gallery, which is not a hit itself."""
    components = components_of(request)
    options = read_options(SearchOptions, request, max_limit=components.settings.max_limit, ignored={ID_PARAMETER})
    return await components.search_gallery.search_similar(item_id, options)


@operation_router.get("/readyz", tags=["operation"], responses=problem_responses(StoreError))
async def readyz(request: Request) -> Readiness:
    """Report that the service can search: the gallery exists in the embedding space of the encoder."""
    manifest = (await components_of(request).gallery.require_live()).manifest
    return Readiness(bundle=manifest.name, fingerprint=manifest.fingerprint)


class LoadSheddingMiddleware(HttpMiddleware):
    """ASGI middleware: raises ServiceOverloadedError for a search before its body is read, if the queue is full."""

    async def serve(self, scope: ConnectionScope, receive: Receive, send: Send) -> None:
        """See HttpMiddleware."""
        if route_path(scope).startswith("/search"):
            scope["app"].state.components.queue.require_room()
        await self._app(scope, receive, send)
