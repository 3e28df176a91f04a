"""Reads photographs and options from the forms of `POST /search` and `POST /search/batch`.

FastAPI's own parameter models inspect the types of their fields in every request, which takes a quarter of the frame's
time (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from aff_shared.errors import InvalidParameterError, RequestError, TooManyImagesError
from aff_shared.images.decoding import Crop
from aff_shared.schemas.browsing import FacetOptions, ListOptions
from aff_shared.schemas.searching import HitOptions, PhotographOptions, SearchOptions
from aff_shared.web.uploads import UploadedFile, is_form, read_form
from query_api.embedding.photograph_embedder import Photograph
from query_api.settings import QuerySettings

_IMAGE_FIELD = "image"
_MAX_TEXT_BYTES = 256 * 1024
_RAW_TYPES = ("image/", "application/octet-stream")
_BINARY = {"type": "string", "format": "binary"}


def described_request(description: str, *, raw: bool) -> dict[str, Any]:
    """Return the OpenAPI description of the options, of a form with images, and of one image as the body.

    Args:
        description: Description of the field with the images.
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
    """A search request with photographs; `names` are the file names that were sent."""

    photographs: list[Photograph]
    names: list[str | None]
    options: PhotographOptions


async def read_photograph_search(request: Request, settings: QuerySettings) -> PhotographSearch:
    """Read a multipart form with the field `image`, once or several times, or the image as the body.

    Args:
        request: Request; its body size is limited already.
        settings: Maximum of `limit` and of images.

    Raises:
        InvalidParameterError: An option out of range, unknown, or sent twice; no image; a crop of several images.
        InvalidFilterError: The filter does not have the documented form.
        InvalidCropError: The crop is malformed.
        TooManyImagesError: More images than the service takes.
        RequestError: The content type is not supported.
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
    options = read_options(PhotographOptions, request, fields.items(), max_limit=settings.max_limit)
    crop = Crop.parse(options.crop) if options.crop is not None else None
    if crop is not None and len(images) > 1:
        raise InvalidParameterError("a crop applies to one image, and several were sent", item="crop")
    return PhotographSearch(
        photographs=[Photograph(image.data, image.name or _IMAGE_FIELD, crop) for image in images],
        names=[image.name for image in images],
        options=options,
    )


async def _read_form(request: Request, max_images: int) -> tuple[list[UploadedFile], dict[str, str | None]]:
    # Besides the images, one file for each option: many clients send JSON as a file.
    max_files = max_images + len(PhotographOptions.model_fields)
    form = await read_form(request, file_field=_IMAGE_FIELD, max_files=max_files, max_text_bytes=_MAX_TEXT_BYTES)
    images = form.files(_IMAGE_FIELD)
    if not images:
        raise InvalidParameterError("an image is required: a file in this field of the form", item=_IMAGE_FIELD)
    if len(images) > max_images:
        raise TooManyImagesError(f"{len(images)} images in one request, and the limit is {max_images}")
    return images, {field: form.text(field) for field in form.parts if field != _IMAGE_FIELD}


_Options = TypeVar("_Options", SearchOptions, PhotographOptions, ListOptions, FacetOptions)


def query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Return the OpenAPI description of options as query parameters."""
    described = []
    for name, schema in model.model_json_schema()["properties"].items():
        shown = {key: value for key, value in schema.items() if key != "default"}
        described.append(
            {
                "name": name,
                "in": "query",
                "required": False,
                "schema": shown,
                "description": schema.get("description", ""),
            }
        )
    return described


def read_options(
    model: type[_Options],
    request: Request,
    fields: Iterable[tuple[str, str | None]] = (),
    *,
    max_limit: int,
    ignored: Collection[str] = (),
) -> _Options:
    """Read the options of a request.

    Args:
        model: Schema of the options.
        request: Request whose query parameters are read.
        fields: Options in the form of the request.
        max_limit: Maximum of `limit`.
        ignored: Query parameters that are not options.

    Raises:
        InvalidParameterError: An option is unknown, out of range, or sent twice.
        InvalidFilterError: The filter does not have the documented form.
    """
    given: dict[str, str | None] = {}
    for name, value in (*request.query_params.multi_items(), *fields):
        if name in ignored:
            continue
        if name in given:
            raise InvalidParameterError("sent more than once, as a query parameter or in the form", item=name)
        given[name] = value
    try:
        options = model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidParameterError(first["msg"], item=str(first["loc"][0])) from error
    require_limit(options, max_limit)
    return options


def require_limit(options: HitOptions | ListOptions | FacetOptions, max_limit: int) -> None:
    """Raise InvalidParameterError if `limit` is over the maximum of the service."""
    if options.limit is not None and options.limit > max_limit:
        raise InvalidParameterError(f"at most {max_limit}, not {options.limit}", item="limit")
