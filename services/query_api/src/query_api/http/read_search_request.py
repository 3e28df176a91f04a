"""Takes photographs and options out of the two forms of `POST /search` and of `POST /search/batch`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import ValidationError

from aff_shared.errors import InvalidParameterError, RequestError, TooManyImagesError
from aff_shared.images.decoding import Crop
from aff_shared.schemas.payload_filter import parse_filter
from aff_shared.schemas.searching import PhotographOptions, SearchOptions
from aff_shared.web.uploads import UploadedFile, is_form, read_form
from query_api.embedding.photograph_embedder import Photograph
from query_api.search.search_query import SearchQuery, search_query
from query_api.settings import QuerySettings

_IMAGE_FIELD = "image"
_MAX_TEXT_BYTES = 256 * 1024
_RAW_TYPES = ("image/", "application/octet-stream")
_BINARY = {"type": "string", "format": "binary"}


def described_request(description: str, *, raw: bool) -> dict[str, Any]:
    """Describe, for OpenAPI, options and a form with images; and the image itself as the body, where that is taken.

    Args:
        description: Of the field with the images.
        raw: Whether one image may be the body.
    """
    options = PhotographOptions.model_json_schema()["properties"]
    images = {"type": "array", "items": _BINARY, "minItems": 1, "description": description}
    form = {
        "type": "object",
        "required": [_IMAGE_FIELD],
        "additionalProperties": False,
        "properties": {_IMAGE_FIELD: images, **options},
    }
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if raw:
        content |= {"image/*": {"schema": _BINARY}, "application/octet-stream": {"schema": _BINARY}}
    return {
        "parameters": query_parameters(PhotographOptions),
        "requestBody": {"required": True, "content": content},
    }


@dataclass(frozen=True, slots=True)
class PhotographSearch:
    """A search with photographs, as it was asked for; `names` are their file names, where some were sent."""

    photographs: list[Photograph]
    names: list[str | None]
    wanted: SearchQuery


async def read_photograph_search(request: Request, settings: QuerySettings) -> PhotographSearch:
    """Read a multipart form with the field `image`, once or several times, or the image as the body.

    Args:
        request: The request; its body is already limited in size.
        settings: Default and maximum of `limit`, and of the images.

    Raises:
        InvalidParameterError: An option out of range, unknown, or given twice; no image; a crop of several images.
        InvalidFilterError: The filter does not have the documented form.
        InvalidCropError: The crop is malformed.
        TooManyImagesError: More images than the service takes.
        RequestError: Neither of the two forms.
    """
    fields: dict[str, str | None] = {}
    content_type = request.headers.get("content-type", "").lower()
    if is_form(request):
        images, fields = await _read_form(request, settings.max_images_per_request)
    elif not content_type or content_type.startswith(_RAW_TYPES):
        images = [UploadedFile("body", await request.body())]
    else:
        raise RequestError(
            "send multipart/form-data with a field image, or the image itself as image/* or application/octet-stream",
            item="content-type",
        )
    options = read_options(PhotographOptions, request, fields.items())
    crop = Crop.parse(options.crop) if options.crop is not None else None
    if crop is not None and len(images) > 1:
        raise InvalidParameterError("a crop is of one image, and several were sent", item="crop")
    return PhotographSearch(
        photographs=[Photograph(image.data, image.name or _IMAGE_FIELD, crop) for image in images],
        names=[image.name for image in images],
        wanted=search_query(options, parse_filter(options.filter), settings),
    )


async def _read_form(request: Request, max_images: int) -> tuple[list[UploadedFile], dict[str, str | None]]:
    # A file for each option beside the images: many clients send JSON as a file.
    max_files = max_images + len(PhotographOptions.model_fields)
    form = await read_form(request, file_field=_IMAGE_FIELD, max_files=max_files, max_text_bytes=_MAX_TEXT_BYTES)
    images = form.files(_IMAGE_FIELD)
    if not images:
        raise InvalidParameterError("an image is needed: a file in this field of the form", item=_IMAGE_FIELD)
    if len(images) > max_images:
        raise TooManyImagesError(f"{len(images)} images, the limit is {max_images} in one request")
    return images, {field: form.text(field) for field in form.parts if field != _IMAGE_FIELD}


_Options = TypeVar("_Options", bound=SearchOptions)


def query_parameters(model: type[SearchOptions]) -> list[dict[str, Any]]:
    """Describe, for OpenAPI, options that may be query parameters."""
    described = []
    for name, schema in model.model_json_schema()["properties"].items():
        shown = {key: value for key, value in schema.items() if key != "default"}
        described.append(
            {"name": name, "in": "query", "required": False, "schema": shown, "description": schema["description"]}
        )
    return described


def read_options(
    model: type[_Options],
    request: Request,
    fields: Iterable[tuple[str, str | None]] = (),
    *,
    passed_over: Collection[str] = (),
) -> _Options:
    """Read the options of a request.

    Args:
        model: Of the options.
        request: Its query parameters are looked at.
        fields: Options that its form holds.
        passed_over: Query parameters that are no options.

    Raises:
        InvalidParameterError: An option is unknown, out of range, or given twice.
    """
    given: dict[str, str | None] = {}
    for name, value in (*request.query_params.multi_items(), *fields):
        if name in passed_over:
            continue
        if name in given:
            raise InvalidParameterError("given more than once, as a query parameter or in the form", item=name)
        given[name] = value
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidParameterError(first["msg"], item=str(first["loc"][0])) from error
