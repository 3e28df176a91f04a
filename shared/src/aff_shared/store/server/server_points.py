"""Our values in the words of Qdrant's client, and back."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from qdrant_client import models

from aff_shared.schemas.payload_filter import Condition, GeoPoint, PayloadFilter
from aff_shared.store.exclusive_boxes import exclusive_boxes
from aff_shared.store.gallery_store import Embedding, GalleryHit, GalleryPoint
from aff_shared.store.layout import VECTOR_NAME, filter_key, from_payload, point_id, to_payload


def to_struct(point: GalleryPoint) -> models.PointStruct:
    """Return a point as it is written."""
    vector: dict[str, Any] = {VECTOR_NAME: point.embedding.tolist()}
    return models.PointStruct(
        id=point_id(point.record.item_id), vector=vector, payload=to_payload(point.record, point.thumbnail)
    )


def from_record(record: models.Record) -> GalleryPoint:
    """Return a point as it was read."""
    return GalleryPoint(record=from_payload(record.payload or {}), embedding=_embedding_of(record))


def to_hit(point: models.ScoredPoint, *, with_embedding: bool) -> GalleryHit:
    """Return a point as a search found it."""
    embedding = _embedding_of(point) if with_embedding else None
    return GalleryHit(record=from_payload(point.payload or {}), score=point.score, embedding=embedding)


def to_filter(payload_filter: PayloadFilter | None) -> models.Filter | None:
    """Return a filter; None stays None."""
    if payload_filter is None:
        return None
    return models.Filter(
        must=[_to_condition(condition) for condition in payload_filter.must] or None,
        should=[_to_condition(condition) for condition in payload_filter.should] or None,
        must_not=[_to_condition(condition) for condition in payload_filter.must_not] or None,
    )


def _embedding_of(record: models.Record | models.ScoredPoint) -> Embedding:
    """Return the embedding of a point that was read with its vector."""
    vectors = cast("dict[str, list[float]]", record.vector)
    return np.asarray(vectors[VECTOR_NAME], dtype=np.float32)


def _to_condition(condition: Condition) -> models.FieldCondition | models.Filter:
    key = filter_key(condition.key)
    if condition.range is not None:
        return models.FieldCondition(key=key, range=models.Range(**condition.range.model_dump()))
    if condition.datetime_range is not None:
        return models.FieldCondition(key=key, range=models.DatetimeRange(**condition.datetime_range.model_dump()))
    if condition.geo_radius is not None:
        circle = models.GeoRadius(center=_place(condition.geo_radius.center), radius=condition.geo_radius.radius_m)
        return models.FieldCondition(key=key, geo_radius=circle)
    if condition.geo_box is not None:
        boxes = [
            models.GeoBoundingBox(top_left=_place(top_left), bottom_right=_place(bottom_right))
            for top_left, bottom_right in exclusive_boxes(condition.geo_box)
        ]
        return models.Filter(should=[models.FieldCondition(key=key, geo_bounding_box=box) for box in boxes])
    if condition.any_of is not None:
        return models.FieldCondition(key=key, match=models.MatchAny(any=cast("list[str]", condition.any_of)))
    assert condition.match is not None, "a condition has exactly one test"
    return models.FieldCondition(key=key, match=models.MatchValue(value=condition.match))


def _place(point: GeoPoint) -> models.GeoPoint:
    return models.GeoPoint(lat=point.lat, lon=point.lon)
