"""The calls of the query service: requests and the parsers of their responses."""

from __future__ import annotations

import base64
import json
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aff_client.service_client import Call
from aff_shared.schemas.browsing import GalleryImages, GalleryOrder
from aff_shared.schemas.indexing import GalleryImage
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.schemas.searching import (
    BatchResponse,
    EncoderDescription,
    HitArguments,
    PhotographArguments,
    SearchResponse,
)


def search(photographs: Sequence[tuple[str, bytes]], arguments: PhotographArguments) -> Call[SearchResponse]:
    """Search with a photograph, given with its name, or with the mean of several."""
    return Call("POST", "/search", SearchResponse.model_validate_json, _form(photographs, arguments))


def search_batch(photographs: Sequence[tuple[str, bytes]], arguments: PhotographArguments) -> Call[BatchResponse]:
    """Search with each of several photographs, given with their names."""
    return Call("POST", "/search/batch", BatchResponse.model_validate_json, _form(photographs, arguments))


def search_embedding(embedding: Iterable[float], fingerprint: str, arguments: HitArguments) -> Call[SearchResponse]:
    """Search with (D,) numbers of unit length that the encoder of a fingerprint made."""
    values = array("f", embedding)
    if sys.byteorder == "big":
        values.byteswap()
    numbers = base64.b64encode(values.tobytes()).decode()
    given = _given(arguments)
    if "filter" in given:
        given["filter"] = json.loads(given["filter"])
    body = {"embedding": numbers, "fingerprint": fingerprint, **given}
    return Call("POST", "/search/embedding", SearchResponse.model_validate_json, {"json": body})


def search_similar(item_id: str, arguments: HitArguments) -> Call[SearchResponse]:
    """Search with an image of the gallery."""
    options = {"params": {"id": item_id, **_given(arguments)}}
    return Call("POST", "/search/similar", SearchResponse.model_validate_json, options)


def encoder() -> Call[EncoderDescription]:
    """Request the description of the query encoder."""
    return Call("GET", "/encoder", EncoderDescription.model_validate_json)


def encoder_model(url: str) -> Call[bytes]:
    """Request a graph of the query encoder by the `url` of its description."""
    return Call("GET", url, bytes)


def image(item_id: str) -> Call[GalleryImage]:
    """Request what the gallery stores about an image."""
    return Call("GET", "/images", GalleryImage.model_validate_json, {"params": {"id": item_id}})


def images(
    limit: int, order: GalleryOrder, payload_filter: PayloadFilter | Mapping[str, Any] | str | None, cursor: str | None
) -> Call[GalleryImages]:
    """Request a page of the gallery."""
    arguments = {"limit": limit, "order": order, "filter": payload_filter, "cursor": cursor}
    return Call("GET", "/images", GalleryImages.model_validate_json, {"params": _given(arguments)})


def thumbnail(item_id: str) -> Call[bytes]:
    """Request the thumbnail of an image: a WebP file."""
    return Call("GET", "/thumbnails", bytes, {"params": {"id": item_id}})


def _form(photographs: Sequence[tuple[str, bytes]], arguments: PhotographArguments) -> dict[str, Any]:
    return {"files": [("image", photograph) for photograph in photographs], "params": _given(arguments)}


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in arguments.items() if value is not None}
    payload_filter = given.get("filter")
    if isinstance(payload_filter, PayloadFilter):
        given["filter"] = payload_filter.model_dump_json(exclude_none=True)
    elif payload_filter is not None and not isinstance(payload_filter, str):
        given["filter"] = json.dumps(payload_filter)
    return given
