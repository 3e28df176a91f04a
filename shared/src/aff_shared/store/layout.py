"""The layout of a gallery in Qdrant, the same in the server and in the embedded engine.

A point's id is the UUIDv5 of its item id, so that writing an item again replaces its point; spellings of an id that
differ in their Unicode normalisation alone are one item. The point has one named vector. Its payload keeps the
project's own fields at the top level and the caller's under `payload`, so neither can shadow the other. The embedding
space is written once, in the metadata.
"""

from __future__ import annotations

import base64
import math
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import numpy as np

from aff_shared.schemas.item_id import other_spellings
from aff_shared.schemas.payload_filter import GeoBox, GeoPoint, key_parts
from aff_shared.schemas.payload_schema import PayloadType
from aff_shared.store.gallery_store import GalleryRecord

VECTOR_NAME = "embedding"
SPACE_KEY = "embedding_space"
LIVE_SINCE_KEY = "live_since"
PAYLOAD_KEY = "payload"
EXTRACTORS_KEY = "extractors"
THUMBNAIL_KEY = "thumbnail"
TIME_KEY = "indexed_at"

_Found = TypeVar("_Found")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_\-]+")
_POINT_NAMESPACE = uuid.UUID("a3f1c2de-6a5b-5f0e-9d57-2c8f7e1b4a90")


def point_id(item_id: str) -> str:
    """Return the UUIDv5 of an item id, as text."""
    return str(uuid.uuid5(_POINT_NAMESPACE, item_id))


def points_of(item_ids: Sequence[str]) -> dict[str, str]:
    """Return every point that may hold one of these items, with the requested item id.

    An id is searched in every normalisation; the points of the ids as they are written are last.
    """
    respelled = {point_id(spelling): item_id for item_id in item_ids for spelling in other_spellings(item_id)}
    return respelled | {point_id(item_id): item_id for item_id in item_ids}


def replaced_points(item_ids: Sequence[str]) -> list[str]:
    """Return the points of these ids in other normalisations, which a write of the ids replaces."""
    written = {point_id(item_id) for item_id in item_ids}
    return [point for point in points_of(item_ids) if point not in written]


def by_item(found: Mapping[str, _Found | None], requested: Mapping[str, str]) -> dict[str, _Found]:
    """Return values by requested item id, from values by point id and the result of `points_of`."""
    return {item_id: one for point, item_id in requested.items() if (one := found.get(point)) is not None}


def filter_key(payload_key: str) -> str:
    """Return the Qdrant key of a key of the caller's payload."""
    return ".".join([PAYLOAD_KEY, *map(_quoted, key_parts(payload_key))])


def _quoted(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else f'"{name}"'


def missing_indexes(schema: Mapping[str, PayloadType], index_names: Iterable[str]) -> dict[str, PayloadType]:
    """Return the indexes that a collection lacks, by Qdrant's keys: of the time, and of the caller's declared keys.

    Args:
        schema: Types of keys of the caller's payload.
        index_names: Qdrant's names of the indexes that exist.
    """
    there = [*map(key_parts, index_names)]
    wanted: dict[str, PayloadType] = {TIME_KEY: "datetime", **{filter_key(key): kind for key, kind in schema.items()}}
    return {key: kind for key, kind in wanted.items() if key_parts(key) not in there}


def exclusive_threshold(score_threshold: float | None) -> float | None:
    """Return the float32 just below a threshold: Qdrant's threshold is exclusive, ours is inclusive."""
    if score_threshold is None:
        return None
    return float(np.nextafter(np.float32(score_threshold), np.float32(-np.inf)))


def to_payload(record: GalleryRecord, thumbnail: bytes | None = None) -> dict[str, Any]:
    """Return a record as the payload of its point, with the thumbnail in base64."""
    kept = {} if thumbnail is None else {THUMBNAIL_KEY: base64.b64encode(thumbnail).decode()}
    return kept | {
        "item_id": record.item_id,
        "content_sha256": record.content_sha256,
        "width": record.width,
        "height": record.height,
        TIME_KEY: record.indexed_at.isoformat(),
        EXTRACTORS_KEY: record.extractors if record.extractors is None else list(record.extractors),
        PAYLOAD_KEY: record.payload,
    }


def thumbnail_of(payload: dict[str, Any]) -> bytes | None:
    """Return the thumbnail in a point's payload."""
    encoded = payload.get(THUMBNAIL_KEY)
    return None if encoded is None else base64.b64decode(encoded)


def from_payload(payload: dict[str, Any]) -> GalleryRecord:
    """Return the record of a point's payload; those of earlier releases lack `extractors`."""
    extractors = payload.get(EXTRACTORS_KEY)
    return GalleryRecord(
        item_id=payload["item_id"],
        content_sha256=payload["content_sha256"],
        width=payload["width"],
        height=payload["height"],
        indexed_at=datetime.fromisoformat(payload[TIME_KEY]),
        payload=payload[PAYLOAD_KEY],
        extractors=None if extractors is None else tuple(extractors),
    )


_NORTHERNMOST = 90 - 1e-9
_HALF_TURN = 180


def exclusive_boxes(box: GeoBox) -> list[tuple[GeoPoint, GeoPoint]]:
    """Return boxes that hold, without their edges, what a box holds with its own; a place at a pole is in none.

    Returns:
        Corners at the top left and at the bottom right of one box, or of two halves.
    """
    north = min(math.nextafter(box.top_left.lat, math.inf), _NORTHERNMOST)
    south = max(math.nextafter(box.bottom_right.lat, -math.inf), -_NORTHERNMOST)
    return [
        (GeoPoint(lat=north, lon=_beside(west, -math.inf)), GeoPoint(lat=south, lon=_beside(east, math.inf)))
        for west, east in _sides(box.top_left.lon, box.bottom_right.lon)
    ]


def _sides(west: float, east: float) -> list[tuple[float, float]]:
    """Return the western and the eastern side; those of both halves where the box goes around half of the earth."""
    width = 360.0 if (west, east) == (-_HALF_TURN, _HALF_TURN) else (east - west) % 360
    if width < _HALF_TURN:
        return [(west, east)]
    middle = west + width / 2
    middle -= 360 if middle > _HALF_TURN else 0
    return [(west, middle), (middle, east)]


def _beside(lon: float, direction: float) -> float:
    """Return the next longitude in a direction; 180 degrees east and west are one meridian."""
    if abs(lon) == _HALF_TURN:
        lon = math.copysign(_HALF_TURN, -direction)
    return math.nextafter(lon, direction)
