"""Our values in the words of Qdrant Edge, and back."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import qdrant_edge as edge

from aff_shared.schemas.payload_filter import Condition, GeoPoint, PayloadFilter
from aff_shared.store.exclusive_boxes import exclusive_boxes
from aff_shared.store.gallery_store import GalleryHit, GalleryPoint
from aff_shared.store.layout import VECTOR_NAME, filter_key, from_payload, point_id, to_payload


def to_engine(point: GalleryPoint) -> edge.Point:
    """Return a point as it is written."""
    vector = {VECTOR_NAME: point.embedding.tolist()}
    return edge.Point(point_id(point.record.item_id), vector, to_payload(point.record, point.thumbnail))


def from_engine(record: Any) -> GalleryPoint:
    """Return a point as it was read."""
    embedding = np.asarray(record.vector[VECTOR_NAME], dtype=np.float32)
    return GalleryPoint(record=from_payload(record.payload), embedding=embedding)


def to_hit(point: Any, *, with_embedding: bool) -> GalleryHit:
    """Return a point as a search found it."""
    embedding = from_engine(point).embedding if with_embedding else None
    return GalleryHit(record=from_payload(point.payload or {}), score=point.score, embedding=embedding)


def to_filter(payload_filter: PayloadFilter | None) -> edge.Filter | None:
    """Return a filter; None stays None."""
    if payload_filter is None:
        return None
    return edge.Filter(
        must=[_condition(condition) for condition in payload_filter.must] or None,
        should=[_condition(condition) for condition in payload_filter.should] or None,
        must_not=[_condition(condition) for condition in payload_filter.must_not] or None,
    )


def _condition(condition: Condition) -> edge.FieldCondition | edge.Filter:
    key = filter_key(condition.key)
    if condition.range is not None:
        return edge.FieldCondition(key, range=edge.RangeFloat(**condition.range.model_dump()))
    if condition.datetime_range is not None:
        bounds = {name: bound and bound.isoformat() for name, bound in condition.datetime_range}
        return edge.FieldCondition(key, range=edge.RangeDateTime(**bounds))
    if condition.geo_radius is not None:
        return edge.FieldCondition(
            key, geo_radius=edge.GeoRadius(_place(condition.geo_radius.center), condition.geo_radius.radius_m)
        )
    if condition.geo_box is not None:
        boxes = [edge.GeoBoundingBox(*map(_place, corners)) for corners in exclusive_boxes(condition.geo_box)]
        return edge.Filter(should=[edge.FieldCondition(key, geo_bounding_box=box) for box in boxes])
    if condition.any_of is not None:
        return edge.FieldCondition(key, match=edge.MatchAny(cast("list[str]", condition.any_of)))
    return edge.FieldCondition(key, match=_match(condition.match))


def _match(value: str | bool | int | None) -> edge.MatchValue:
    assert value is not None, "a condition has exactly one test"
    # The engine takes Python's bool for an integer; NumPy's is the one that it knows.
    return edge.MatchValue(cast("bool", np.bool_(value)) if isinstance(value, bool) else value)


def _place(point: GeoPoint) -> edge.GeoPoint:
    return edge.GeoPoint(lon=point.lon, lat=point.lat)
