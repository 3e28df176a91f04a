"""Takes photograph and options out of the two forms of `POST /search`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aff_contracts.errors import InvalidParameterError, RequestError
from aff_contracts.image_decoding import Crop
from aff_contracts.schemas.payload_filter import parse_filter
from aff_contracts.web.uploads import is_form, read_form
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
        float | None, Field(ge=-1, le=1, description="Least cosine similarity of a hit.", allow_inf_nan=False)
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
        Field(description="Region of the upright photograph to search with: x1,y1,x2,y2 in pixels."),
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
        TooManyImagesError: Far more files than the one.
        RequestError: Neither of the two forms.
    """
    content_type = request.headers.get("content-type", "").lower()
    if is_form(request):
        data, name, options = await _read_form(request, options)
    elif not content_type or content_type.startswith(_RAW_TYPES):
        data, name = await request.body(), "body"
    else:
        raise RequestError("send multipart/form-data with a field image, or the image itself", item="content-type")
    return Query(
        data=data,
        name=name,
        limit=_limit(options, settings),
        crop=Crop.parse(options.crop) if options.crop is not None else None,
        payload_filter=parse_filter(options.filter),
        score_threshold=options.score_threshold,
    )


async def _read_form(request: Request, options: SearchOptions) -> tuple[bytes, str, SearchOptions]:
    form = await read_form(request, max_files=len(SearchOptions.model_fields) + 1, max_text_bytes=_MAX_TEXT_BYTES)
    files = form.files(_IMAGE_FIELD)
    if len(files) != 1:
        raise InvalidParameterError(f"exactly one image is needed, not {len(files)}", item=_IMAGE_FIELD)
    fields = {field: form.text(field) for field in form.parts if field != _IMAGE_FIELD}
    given = options.model_dump(exclude_none=True)
    for field in fields.keys() & given.keys():
        raise InvalidParameterError("given both in the form and as a query parameter", item=field)
    try:
        merged = SearchOptions.model_validate({**given, **fields})
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidParameterError(first["msg"], item=".".join(map(str, first["loc"]))) from error
    return files[0].data, files[0].name or _IMAGE_FIELD, merged


def _limit(options: SearchOptions, settings: QuerySettings) -> int:
    limit = options.limit or settings.default_limit
    if limit > settings.max_limit:
        raise InvalidParameterError(f"at most {settings.max_limit}, not {limit}", item="limit")
    return limit
