"""An honest in-memory gallery store: a dict and NumPy, which passes the same contract suite as the adapters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from typing import Any
from unicodedata import normalize

import numpy as np

from aff_shared.errors import GalleryMissingError
from aff_shared.schemas.browsing import GalleryOrder
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import JsonObject
from aff_shared.schemas.payload_filter import Condition, DatetimeRange, GeoPoint, PayloadFilter, Scalar, key_parts
from aff_shared.store.gallery_store import (
    Embedding,
    GalleryHit,
    GalleryPage,
    GalleryPoint,
    GalleryRecord,
    RecordPage,
)
from aff_shared.store.layout import point_id
from aff_shared.store.record_paging import RecordScroll, read_page


class MemoryGalleryStore:
    """A gallery in this process's memory, created where it has a space; every search compares with every point."""

    name = "memory"

    def __init__(self, space: EmbeddingSpace | None = None) -> None:
        self._space = space
        self._points: dict[str, GalleryPoint] = {}

    async def create(self, space: EmbeddingSpace) -> None:
        if self._space is not None:
            space.require_same(self._space, here="the model bundle", there="the gallery")
        self._space = space

    async def space(self) -> EmbeddingSpace:
        return self._require_space()

    async def index_payload(self) -> None:
        self._require_space()

    async def upsert(self, points: Sequence[GalleryPoint]) -> None:
        self._require_space()
        for point in points:
            self._points.pop(self._key(point.record.item_id), None)
            self._points[point.record.item_id] = deepcopy(point)

    async def fetch(self, item_ids: Sequence[str]) -> dict[str, GalleryPoint]:
        self._require_space()
        keys = {item_id: self._key(item_id) for item_id in item_ids}
        return {item_id: _read(self._points[key]) for item_id, key in keys.items() if key in self._points}

    async def set_payload(self, item_id: str, payload: JsonObject) -> None:
        self._require_space()
        key = self._key(item_id)
        if key in self._points:
            point = self._points[key]
            self._points[key] = replace(point, record=replace(point.record, payload=deepcopy(payload)))

    async def thumbnails(self, item_ids: Sequence[str]) -> dict[str, bytes]:
        self._require_space()
        keys = {item_id: self._key(item_id) for item_id in item_ids}
        found = {item_id: self._points[key].thumbnail for item_id, key in keys.items() if key in self._points}
        return {item_id: thumbnail for item_id, thumbnail in found.items() if thumbnail is not None}

    async def delete(self, item_ids: Sequence[str]) -> None:
        self._require_space()
        for item_id in item_ids:
            self._points.pop(self._key(item_id), None)

    async def delete_matching(self, payload_filter: PayloadFilter) -> None:
        await self.delete([point.record.item_id for point in self._matching(payload_filter)])

    async def search(
        self,
        embedding: Embedding,
        *,
        limit: int,
        payload_filter: PayloadFilter | None = None,
        score_threshold: float | None = None,
        exact: bool = False,  # noqa: ARG002 - the Protocol's; this store is always exact
        with_embeddings: bool = False,
    ) -> list[GalleryHit]:
        hits = [
            GalleryHit(
                record=deepcopy(point.record),
                score=float(np.dot(point.embedding, embedding)),
                embedding=point.embedding.copy() if with_embeddings else None,
            )
            for point in self._matching(payload_filter)
        ]
        hits = [hit for hit in hits if score_threshold is None or hit.score >= score_threshold]
        return sorted(hits, key=lambda hit: -hit.score)[:limit]

    async def most_hits(self) -> int | None:
        return None

    async def count(self, payload_filter: PayloadFilter | None = None) -> int:
        return len(self._matching(payload_filter))

    async def scroll(
        self, *, limit: int, cursor: str | None = None, payload_filter: PayloadFilter | None = None
    ) -> GalleryPage:
        points = sorted(self._matching(payload_filter), key=lambda point: point_id(point.record.item_id))
        rest = [point for point in points if cursor is None or point_id(point.record.item_id) >= cursor]
        following = point_id(rest[limit].record.item_id) if len(rest) > limit else None
        return GalleryPage(points=[_read(point) for point in rest[:limit]], cursor=following)

    async def records(
        self,
        *,
        limit: int,
        order: GalleryOrder,
        cursor: str | None = None,
        payload_filter: PayloadFilter | None = None,
    ) -> RecordPage:
        async def read(scroll: RecordScroll) -> list[GalleryRecord]:
            records = [point.record for point in self._matching(payload_filter)]
            if "order" in scroll:
                start, newest = scroll["start"], scroll["order"] == "newest"
                records = [
                    one
                    for one in records
                    if start is None or (one.indexed_at <= start if newest else one.indexed_at >= start)
                ]
                records.sort(key=lambda one: one.indexed_at, reverse=newest)
            else:
                first, moment = scroll.get("first", ""), scroll.get("moment")
                records = [
                    one for one in records if moment in {None, one.indexed_at} and point_id(one.item_id) >= first
                ]
                records.sort(key=lambda one: point_id(one.item_id))
            return deepcopy(records[: scroll["limit"]])

        self._require_space()
        return await read_page(read, limit=limit, order=order, cursor=cursor)

    async def facet(
        self, payload_key: str, *, limit: int, payload_filter: PayloadFilter | None = None
    ) -> list[tuple[Scalar, int]]:
        counts: Counter[Scalar] = Counter()
        for point in self._matching(payload_filter):
            counts.update(set(_values(point.record.payload, key_parts(payload_key))))
        return counts.most_common(limit)

    async def close(self) -> None:
        self._points.clear()

    def forget(self) -> None:
        """Be a gallery that was dropped."""
        self._space = None
        self._points.clear()

    def _require_space(self) -> EmbeddingSpace:
        if self._space is None:
            raise GalleryMissingError("no gallery has been created in this store")
        return self._space

    def _key(self, item_id: str) -> str:
        """Return the id under which an item is kept: in the normalisation in which it was written."""
        if item_id in self._points or item_id.isascii():
            return item_id
        return next((key for key in self._points if normalize("NFC", key) == normalize("NFC", item_id)), item_id)

    def _matching(self, payload_filter: PayloadFilter | None) -> list[GalleryPoint]:
        self._require_space()
        return [point for point in self._points.values() if _matches(payload_filter, point.record.payload)]


def _read(point: GalleryPoint) -> GalleryPoint:
    return replace(deepcopy(point), thumbnail=None)


def _matches(payload_filter: PayloadFilter | None, payload: Any) -> bool:
    if payload_filter is None:
        return True
    return (
        all(_holds(condition, payload) for condition in payload_filter.must)
        and (not payload_filter.should or any(_holds(condition, payload) for condition in payload_filter.should))
        and not any(_holds(condition, payload) for condition in payload_filter.must_not)
    )


def _holds(condition: Condition, payload: Any) -> bool:
    return any(_value_holds(condition, value) for value in _values(payload, key_parts(condition.key)))


def _values(node: Any, path: list[str]) -> Iterator[Any]:
    """Yield the values at a path; a list at its end stands for its elements, as in Qdrant."""
    for name in path:
        if not isinstance(node, dict) or name not in node:
            return
        node = node[name]
    yield from node if isinstance(node, list) else [node]


def _value_holds(condition: Condition, value: Any) -> bool:
    if condition.range is not None:
        bounds = condition.range
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and (bounds.gt is None or value > bounds.gt)
            and (bounds.gte is None or value >= bounds.gte)
            and (bounds.lt is None or value < bounds.lt)
            and (bounds.lte is None or value <= bounds.lte)
        )
    if condition.datetime_range is not None:
        return _is_within(value, condition.datetime_range)
    if condition.geo_radius is not None:
        radius = condition.geo_radius
        return _is_place(value) and _metres(value, radius.center) <= radius.radius_m
    if condition.geo_box is not None:
        box = condition.geo_box
        return (
            _is_place(value)
            and box.bottom_right.lat <= value["lat"] <= box.top_left.lat
            and any(_is_between(lon, box.top_left.lon, box.bottom_right.lon) for lon in _names_of(value["lon"]))
        )
    wanted = [condition.match] if condition.any_of is None else condition.any_of
    return any(type(value) is type(candidate) and value == candidate for candidate in wanted)


def _is_within(value: Any, bounds: DatetimeRange) -> bool:
    try:
        moment = datetime.fromisoformat(value.upper())
    except (AttributeError, ValueError):
        return False
    return (
        (bounds.gt is None or moment > bounds.gt)
        and (bounds.gte is None or moment >= bounds.gte)
        and (bounds.lt is None or moment < bounds.lt)
        and (bounds.lte is None or moment <= bounds.lte)
    )


def _names_of(lon: float) -> set[float]:
    return {lon, -lon} if abs(lon) == 180 else {lon}


def _is_between(lon: float, west: float, east: float) -> bool:
    return west <= lon <= east if west <= east else lon >= west or lon <= east


def _is_place(value: Any) -> bool:
    return isinstance(value, dict) and {"lat", "lon"} <= value.keys()


def _metres(value: Any, center: GeoPoint) -> float:
    """Great-circle distance (haversine)."""
    lat, other_lat = math.radians(value["lat"]), math.radians(center.lat)
    half_lat, half_lon = (other_lat - lat) / 2, math.radians(center.lon - value["lon"]) / 2
    squared = math.sin(half_lat) ** 2 + math.cos(lat) * math.cos(other_lat) * math.sin(half_lon) ** 2
    return 2 * 6_371_000 * math.asin(squared**0.5)
