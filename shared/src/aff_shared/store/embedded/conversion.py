"""Settings, points and filters as the types of Qdrant Edge."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import numpy as np
import qdrant_edge as edge

from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.payload_filter import Condition, GeoPoint, PayloadFilter
from aff_shared.schemas.payload_schema import PayloadType
from aff_shared.store.gallery_store import Embedding, GalleryHit, GalleryPoint, NearestQuery
from aff_shared.store.layout import (
    THUMBNAIL_KEY,
    TIME_KEY,
    VECTOR_NAME,
    exclusive_boxes,
    exclusive_threshold,
    filter_key,
    from_payload,
    missing_indexes,
    point_id,
    to_payload,
)
from aff_shared.store.record_paging import RecordScroll
from aff_shared.store.settings import MemoryPlacement, StoreSettings

WITHOUT_THUMBNAIL = edge.PayloadSelector.Exclude([THUMBNAIL_KEY])

_MEMORY = {"cold": edge.Memory.Cold, "cached": edge.Memory.Cached, "pinned": edge.Memory.Pinned}
_BITS = {
    "turbo8": edge.TurboQuantBitSize.Bits8,
    "turbo4": edge.TurboQuantBitSize.Bits4,
    "turbo2": edge.TurboQuantBitSize.Bits2,
    "turbo1": edge.TurboQuantBitSize.Bits1,
}
# The engine's defaults; it requires all settings of a graph or none.
_HNSW_M = 16
_HNSW_EF_CONSTRUCT = 100
_FULL_SCAN_THRESHOLD_KB = 10_000

_PAYLOAD_TYPES: dict[PayloadType, edge.PayloadSchemaType] = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
    "datetime": edge.PayloadSchemaType.Datetime,
    "geo": edge.PayloadSchemaType.Geo,
}


def shard_config(space: EmbeddingSpace, settings: StoreSettings) -> edge.EdgeConfig:
    """Return the configuration of a shard; another one than it was made with counts from its next graph on."""
    graph = None
    if settings.hnsw_m is not None or settings.hnsw_ef_construct is not None:
        graph = edge.HnswIndexConfig(
            settings.hnsw_m or _HNSW_M, settings.hnsw_ef_construct or _HNSW_EF_CONSTRUCT, _FULL_SCAN_THRESHOLD_KB
        )
    vector = edge.EdgeVectorParams(
        size=space.dimension,
        distance=edge.Distance.Cosine,
        memory=_memory(settings.vectors_memory),
        quantization_config=_quantization(settings),
        hnsw_config=graph,
    )
    optimizers = edge.EdgeOptimizersConfig(indexing_threshold=settings.indexing_threshold_kb)
    # A pool of eight threads for one search costs more processor time than the search itself.
    return edge.EdgeConfig(vectors={VECTOR_NAME: vector}, optimizers=optimizers, max_search_threads=1)


def _search_parameters(settings: StoreSettings, *, exact: bool) -> edge.SearchParams:
    """Return the parameters of a search; an exact one uses neither the graph nor compressed vectors."""
    if exact:
        return edge.SearchParams(exact=True, quantization=edge.QuantizationSearchParams(ignore=True))
    quantization = None
    if settings.quantization != "none":
        quantization = edge.QuantizationSearchParams(rescore=settings.rescore, oversampling=settings.oversampling)
    return edge.SearchParams(hnsw_ef=settings.search_ef, quantization=quantization)


def index_creations(shard: edge.EdgeShard, settings: StoreSettings) -> list[edge.UpdateOperation]:
    """Return what creates the indexes that a shard lacks."""
    missing = missing_indexes(settings.indexed_keys, shard.info().payload_schema)
    return [edge.UpdateOperation.create_field_index(key, _PAYLOAD_TYPES[kind]) for key, kind in missing.items()]


def _quantization(settings: StoreSettings) -> Any:
    memory = _memory(settings.quantized_memory)
    if settings.quantization == "none":
        return None
    if settings.quantization == "int8":
        return edge.ScalarQuantizationConfig(edge.ScalarType.Int8, memory=memory)
    if settings.quantization == "binary":
        return edge.BinaryQuantizationConfig(memory=memory)
    return edge.TurboQuantQuantizationConfig(bits=_BITS[settings.quantization], memory=memory)


def _memory(placement: MemoryPlacement | None) -> edge.Memory | None:
    return None if placement is None else _MEMORY[placement]


def to_engine(point: GalleryPoint) -> edge.Point:
    """Return a point as it is written."""
    vector = {VECTOR_NAME: point.embedding.tolist()}
    return edge.Point(point_id(point.record.item_id), vector, to_payload(point.record, point.thumbnail))


def from_engine(record: Any) -> GalleryPoint:
    """Return a point as it was read."""
    embedding = np.asarray(record.vector[VECTOR_NAME], dtype=np.float32)
    return GalleryPoint(record=from_payload(record.payload), embedding=embedding)


def scroll_request(scroll: RecordScroll, payload_filter: PayloadFilter | None) -> edge.ScrollRequest:
    """Return the scroll that reads records without their embeddings and thumbnails."""
    order, start = scroll.get("order"), scroll.get("start")
    direction = edge.Direction.Desc if order == "newest" else edge.Direction.Asc
    return edge.ScrollRequest(
        offset=scroll.get("first"),
        limit=scroll["limit"],
        filter=_of_moment(to_filter(payload_filter), scroll.get("moment")),
        with_payload=WITHOUT_THUMBNAIL,
        with_vector=False,
        order_by=order and edge.OrderBy(TIME_KEY, direction, None if start is None else start.isoformat()),
    )


def page_request(limit: int, cursor: str | None, payload_filter: PayloadFilter | None) -> edge.ScrollRequest:
    """Return the scroll that reads points by their ids."""
    return edge.ScrollRequest(
        offset=cursor,
        limit=limit,
        filter=to_filter(payload_filter),
        with_payload=WITHOUT_THUMBNAIL,
        with_vector=True,
    )


def search_request(embedding: Embedding, settings: StoreSettings, query: NearestQuery) -> edge.QueryRequest:
    """Return a search."""
    return edge.QueryRequest(
        limit=query["limit"],
        query=edge.Query.Nearest(embedding.tolist(), using=VECTOR_NAME),
        filter=to_filter(query.get("payload_filter")),
        score_threshold=exclusive_threshold(query.get("score_threshold")),
        params=_search_parameters(settings, exact=query.get("exact", False)),
        with_payload=WITHOUT_THUMBNAIL,
        with_vector=query.get("with_embeddings", False),
    )


def facet_request(payload_key: str, limit: int, payload_filter: PayloadFilter | None) -> edge.FacetRequest:
    """Return the count of a key's values."""
    # Without a filter the engine's estimate is exact and comes from the index; counting reads every point.
    return edge.FacetRequest(
        filter_key(payload_key), limit, exact=payload_filter is not None, filter=to_filter(payload_filter)
    )


def _of_moment(found: edge.Filter | None, moment: datetime | None) -> edge.Filter | None:
    if moment is None:
        return found
    time = moment.isoformat()
    condition = edge.FieldCondition(TIME_KEY, range=edge.RangeDateTime(gte=time, lte=time))
    return edge.Filter(must=[condition, *([] if found is None else [found])])


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
    # The engine treats Python's bool as an integer; it supports NumPy's.
    return edge.MatchValue(cast("bool", np.bool_(value)) if isinstance(value, bool) else value)


def _place(point: GeoPoint) -> edge.GeoPoint:
    return edge.GeoPoint(lon=point.lon, lat=point.lat)
