"""Settings, points and filters as the types of Qdrant's client."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from pydantic import ValidationError
from qdrant_client import models

from aff_shared.errors import StoreRejectedError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.payload_filter import Condition, GeoPoint, PayloadFilter
from aff_shared.store.gallery_store import Embedding, GalleryHit, GalleryPoint
from aff_shared.store.layout import (
    SPACE_KEY,
    THUMBNAIL_KEY,
    TIME_KEY,
    VECTOR_NAME,
    exclusive_boxes,
    filter_key,
    from_payload,
    point_id,
    to_payload,
)
from aff_shared.store.record_paging import RecordScroll
from aff_shared.store.server.limits import CollectionLimits
from aff_shared.store.settings import MemoryPlacement, StoreSettings

WITHOUT_THUMBNAIL = models.PayloadSelectorExclude(exclude=[THUMBNAIL_KEY])


def creation_arguments(space: EmbeddingSpace, settings: StoreSettings) -> dict[str, Any]:
    """Return the arguments of `create_collection` except the name."""
    vector = models.VectorParams(
        size=space.dimension,
        distance=models.Distance.COSINE,
        memory=_memory(settings.vectors_memory),
        quantization_config=_quantization(settings),
    )
    graph = None
    if settings.hnsw_m is not None or settings.hnsw_ef_construct is not None:
        graph = models.HnswConfigDiff(m=settings.hnsw_m, ef_construct=settings.hnsw_ef_construct)
    return {
        "vectors_config": {VECTOR_NAME: vector},
        "optimizers_config": models.OptimizersConfigDiff(indexing_threshold=settings.indexing_threshold_kb),
        "hnsw_config": graph,
        "shard_number": settings.shard_number,
        "replication_factor": settings.replication_factor,
        "write_consistency_factor": settings.write_consistency_factor,
        "on_disk_payload": True,
        "metadata": {SPACE_KEY: space.model_dump()},
    }


def space_of(info: models.CollectionInfo) -> EmbeddingSpace | None:
    """Return the space in the metadata of a collection; None if it is not a gallery of this system."""
    try:
        return EmbeddingSpace.model_validate((info.config.metadata or {}).get(SPACE_KEY))
    except ValidationError:
        return None


def required_space_of(info: models.CollectionInfo, name: str) -> EmbeddingSpace:
    """Return the space in the metadata of a collection; raises StoreRejectedError if it has none."""
    space = space_of(info)
    if space is None:
        raise StoreRejectedError(
            f"the collection {name!r} has no embedding space in its metadata, so it is not a gallery of this system; "
            f"set QDRANT_COLLECTION or QDRANT_COLLECTION_PREFIX to another name"
        )
    return space


def read_fan_out_change(params: models.CollectionParams, settings: StoreSettings) -> models.CollectionParamsDiff | None:
    """Return the change that has a node ask the next copy of another node's shard, where that node is slow or hangs.

    None if it is made already, or there is one copy alone.
    """
    delay_ms = settings.read_fan_out_delay_ms
    if (params.replication_factor or 1) <= 1 or (params.read_fan_out_delay_ms or 0) == delay_ms:
        return None
    return models.CollectionParamsDiff(read_fan_out_delay_ms=delay_ms)


def search_parameters(settings: StoreSettings, limits: CollectionLimits, *, exact: bool) -> models.SearchParams:
    """Return the parameters of a search; an exact one uses neither the graph nor compressed vectors."""
    if exact:
        return models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True))
    quantization = None
    if settings.quantization != "none":
        quantization = models.QuantizationSearchParams(rescore=settings.rescore, oversampling=limits.oversampling)
    return models.SearchParams(hnsw_ef=limits.search_ef, exact=False, quantization=quantization)


def _quantization(settings: StoreSettings) -> Any:
    memory = _memory(settings.quantized_memory)
    if settings.quantization == "none":
        return None
    if settings.quantization == "int8":
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, memory=memory)
        return models.ScalarQuantization(scalar=scalar)
    if settings.quantization == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(memory=memory))
    bits = models.TurboQuantBitSize(settings.quantization.replace("turbo", "bits"))
    return models.TurboQuantization(turbo=models.TurboQuantQuantizationConfig(bits=bits, memory=memory))


def _memory(placement: MemoryPlacement | None) -> models.Memory | None:
    return None if placement is None else models.Memory(placement)


def to_struct(point: GalleryPoint) -> models.PointStruct:
    """Return a point as it is written."""
    vector: dict[str, Any] = {VECTOR_NAME: point.embedding.tolist()}
    return models.PointStruct(
        id=point_id(point.record.item_id), vector=vector, payload=to_payload(point.record, point.thumbnail)
    )


def from_record(record: models.Record) -> GalleryPoint:
    """Return a point as it was read."""
    return GalleryPoint(record=from_payload(record.payload or {}), embedding=_embedding_of(record))


def scroll_arguments(scroll: RecordScroll, payload_filter: PayloadFilter | None) -> dict[str, Any]:
    """Return the arguments of `scroll` that read records without their embeddings and thumbnails."""
    order, moment = scroll.get("order"), scroll.get("moment")
    direction = models.Direction.DESC if order == "newest" else models.Direction.ASC
    found = to_filter(payload_filter)
    if moment is not None:
        condition = models.FieldCondition(key=TIME_KEY, range=models.DatetimeRange(gte=moment, lte=moment))
        found = models.Filter(must=[condition, *([] if found is None else [found])])
    return {
        "limit": scroll["limit"],
        "offset": scroll.get("first"),
        "scroll_filter": found,
        "order_by": order and models.OrderBy(key=TIME_KEY, direction=direction, start_from=scroll.get("start")),
        "with_payload": WITHOUT_THUMBNAIL,
        "with_vectors": False,
    }


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
