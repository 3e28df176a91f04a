"""Takes photograph and options out of the two forms of `POST /search`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aff_contracts.errors import InvalidParameterError, RequestError
from aff_contracts.image_decoding import Crop
from aff_contracts.schemas.payload_filter import parse_filter
from aff_contracts.web.uploads import UploadedFile, is_form, read_form
from query_api.search_gallery import Query
from query_api.settings import QuerySettings

_IMAGE_FIELD = "image"
_MAX_TEXT_BYTES = 256 * 1024
_RAW_TYPES = ("image/", "application/octet-stream")


class SearchOptions(BaseModel):
    """What may be said of a search, as query parameters or as fields of the form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[int | None, Field(ge=1, description="Most hits; the service has a default and a maximum.")] = None
    score_threshold: Annotated[
        float | None,
        Field(ge=-1, le=1, allow_inf_nan=False, description="Least cosine similarity of a hit."),
    ] = None
    filter: Annotated[
        str | None,
        Field(
            description="Payload filter, as JSON text: must, should and must_not hold conditions with a key and one "
            "of match, any_of, range.",
            examples=['{"must": [{"key": "city", "match": "Paris"}]}'],
        ),
    ] = None
    crop: Annotated[
        str | None,
        Field(
            description="Region of the upright photograph to search with: x1,y1,x2,y2 in pixels.",
            examples=["120,40,620,480"],
        ),
    ] = None


_BINARY = {"type": "string", "format": "binary"}

REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [_IMAGE_FIELD],
                "additionalProperties": False,
                "properties": {
                    _IMAGE_FIELD: {**_BINARY, "description": "The photograph."},
                    **SearchOptions.model_json_schema()["properties"],
                },
            }
        },
        "image/*": {"schema": _BINARY},
        "application/octet-stream": {"schema": _BINARY},
    },
}
"""OpenAPI's description of the two forms."""


async def read_search_request(request: Request, options: SearchOptions, settings: QuerySettings) -> Query:
    """Read a multipart form with the field `image`, or the image as the body.

    Args:
        request: The request; its body is already limited in size.
        options: The query parameters.
        settings: Default and maximum of `limit`.

    Raises:
        InvalidParameterError: An option out of range, unknown, or given twice; not exactly one image.
        InvalidFilterError: The filter does not have the documented form.
        InvalidCropError: The crop is malformed.
        TooManyImagesError: Far more files than the one.
        RequestError: Neither of the two forms.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    content_type = request.headers.get("content-type", "").lower()
    if is_form(request):
        image, fields = await _read_form(request)
        given += fields
        options = _merge(options, fields)
    elif not content_type or content_type.startswith(_RAW_TYPES):
        image = UploadedFile("body", await request.body())
    else:
        raise RequestError(
            "send multipart/form-data with a field image, or the image itself as image/* or application/octet-stream",
            item="content-type",
        )
    _require_each_once(given)
    return Query(
        data=image.data,
        name=image.name or _IMAGE_FIELD,
        limit=_limit(options, settings),
        crop=Crop.parse(options.crop) if options.crop is not None else None,
        payload_filter=parse_filter(options.filter),
        score_threshold=options.score_threshold,
    )


async def _read_form(request: Request) -> tuple[UploadedFile, dict[str, str | None]]:
    # One more file than the image for each option: many clients send JSON as a file.
    form = await read_form(request, max_files=1 + len(SearchOptions.model_fields), max_text_bytes=_MAX_TEXT_BYTES)
    files = form.files(_IMAGE_FIELD)
    if len(files) != 1:
        raise InvalidParameterError(f"exactly one image is needed, not {len(files)}", item=_IMAGE_FIELD)
    return files[0], {field: form.text(field) for field in form.parts if field != _IMAGE_FIELD}


def _merge(options: SearchOptions, fields: Mapping[str, str | None]) -> SearchOptions:
    try:
        return SearchOptions.model_validate({**options.model_dump(exclude_none=True), **fields})
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidParameterError(first["msg"], item=str(first["loc"][0])) from error


def _require_each_once(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InvalidParameterError("given more than once, as a query parameter or in the form", item=name)


def _limit(options: SearchOptions, settings: QuerySettings) -> int:
    limit = options.limit or settings.default_limit
    if limit > settings.max_limit:
        raise InvalidParameterError(f"at most {settings.max_limit}, not {limit}", item="limit")
    return limit
