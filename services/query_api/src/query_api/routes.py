"""HTTP routes of the query service."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from aff_contracts.errors import (
    EncoderError,
    ImageError,
    InvalidCropError,
    InvalidFilterError,
    StoreError,
    TooManyImagesError,
)
from aff_contracts.schemas.health import Readiness
from aff_contracts.schemas.searching import SearchResponse
from aff_contracts.web.problems import problem_responses
from query_api.components import CurrentComponents
from query_api.read_search_request import REQUEST_BODY, SearchOptions, read_search_request

router = APIRouter()


@router.post(
    "/search",
    tags=["search"],
    responses=problem_responses(
        InvalidFilterError, InvalidCropError, TooManyImagesError, ImageError, EncoderError, StoreError
    ),
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def search(
    request: Request, options: Annotated[SearchOptions, Query()], components: CurrentComponents
) -> SearchResponse:
    """Find the gallery images that show the same thing as a photograph.

    Send the photograph as the field `image` of a form, or as the body itself. Options are query parameters or
    fields of the form; none may be given twice.
    """
    query = await read_search_request(request, options, components.settings)
    return await components.search_gallery.search(query)


@router.get("/readyz", tags=["operation"], responses=problem_responses(StoreError))
async def readyz(components: CurrentComponents) -> Readiness:
    """Say that searches can be answered now: the gallery is there, in the encoder's embedding space."""
    return Readiness(fingerprint=(await components.gallery.require_live()).manifest.fingerprint)
