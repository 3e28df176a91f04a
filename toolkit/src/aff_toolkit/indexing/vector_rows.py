"""Rows of a table as points of a gallery: ids, unit vectors, payloads, and the fields that an export also has."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from aff_shared.schemas.embedding_space import Sha256
from aff_shared.schemas.item_id import canonical_id, require_addressable
from aff_shared.store.gallery_store import GalleryPoint, GalleryRecord
from aff_toolkit.indexing.source_item import json_value, not_json
from aff_toolkit.indexing.vector_tables import Row
from gallery_indexer.indexing.payload_limits import PayloadLimits, require_storable

UNKNOWN_CONTENT = "0" * 64
"""`content_sha256` of an image whose file is not known."""

_SHA256: TypeAdapter[str] = TypeAdapter(Sha256)


def id_text(item_id: Any) -> str:
    """Return an id in the form that the gallery stores; empty if there is none."""
    if isinstance(item_id, bytes):
        item_id = item_id.decode(errors="backslashreplace")
    return "" if _is_empty(item_id) else canonical_id(str(item_id))


def normalised(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], list[str]]:
    """Return (n, D) unit vectors, and for each why it cannot be used, or an empty text."""
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    finite = np.asarray(np.isfinite(wide).all(axis=1))
    missing = np.asarray(np.isnan(wide).all(axis=1))
    usable = finite & (lengths > 0)
    wide[~usable] = 0
    units = (wide / np.where(usable, lengths, 1)[:, None]).astype(np.float32)
    faults = []
    for is_missing, is_finite, is_usable in zip(missing, finite, usable, strict=True):
        fault = "its vector has a number that is not finite" if not is_finite else "its vector is zero"
        faults.append("" if is_usable else "it has no vector of this width" if is_missing else fault)
    return units, faults


def require_usable_id(item_id: str, value: Any) -> None:
    """Raise ValueError if an image cannot have this id, the text of a row's value."""
    if not item_id:
        raise ValueError("it has no id")
    if isinstance(value, bool | list | dict):
        raise ValueError("its id is neither text nor a number")
    require_addressable(item_id)
    try:
        item_id.encode()
    except UnicodeEncodeError as error:
        raise ValueError("its id has half of a UTF-16 pair") from error


def point_of(
    item_id: str, row: Row, unit: NDArray[np.float32], indexed_at: datetime, limits: PayloadLimits
) -> GalleryPoint:
    """Return the point of a row; raises ValueError or InvalidItemsError if a value cannot be stored."""
    values = {name: value for name, value in row.items() if name != "id" and not _is_empty(value)}
    sha256 = _taken(values, "content_sha256", UNKNOWN_CONTENT)
    width, height = _taken(values, "width", 0), _taken(values, "height", 0)
    time_of_row = _taken(values, "indexed_at", indexed_at)
    extractors, thumbnail = _taken(values, "extractors", None), _taken(values, "thumbnail", None)
    own = values.pop("payload", {})
    if isinstance(own, str):
        own = json.loads(own)
    if not isinstance(own, dict):
        raise ValueError("its payload is not a JSON object")
    payload = json_value({**values, **own})
    if reason := not_json(payload):
        raise ValueError(reason)
    require_storable(payload, limits, item=item_id)
    record = GalleryRecord(item_id, sha256, width, height, time_of_row, payload, extractors)
    return GalleryPoint(record, unit, thumbnail)


def _taken(values: dict[str, Any], name: str, default: Any) -> Any:
    """Remove a value that is called as in an export and of its type there; other values stay in the payload."""
    value = _CONVERTED[name](values.get(name))
    if value is None:
        return default
    del values[name]
    return value


def _sha256(value: Any) -> str | None:
    try:
        return _SHA256.validate_python(value)
    except ValidationError:
        return None


def _size(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _time(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    try:
        return value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
    except OverflowError:  # of the first or last hours that can be written
        return None


def _names(value: Any) -> tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else None


def _webp(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) and value[:4] == b"RIFF" and value[8:12] == b"WEBP" else None


_CONVERTED: Mapping[str, Any] = {
    "content_sha256": _sha256,
    "width": _size,
    "height": _size,
    "indexed_at": _time,
    "extractors": _names,
    "thumbnail": _webp,
}


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))  # pandas writes missing values as NaN
