"""How a shard of Qdrant Edge is opened and searched, as the settings say."""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.payload_schema import PayloadType
from aff_shared.store.layout import VECTOR_NAME, filter_key, is_indexed
from aff_shared.store.settings import MemoryPlacement, StoreSettings

_MEMORY = {"cold": edge.Memory.Cold, "cached": edge.Memory.Cached, "pinned": edge.Memory.Pinned}
_BITS = {
    "turbo8": edge.TurboQuantBitSize.Bits8,
    "turbo4": edge.TurboQuantBitSize.Bits4,
    "turbo2": edge.TurboQuantBitSize.Bits2,
    "turbo1": edge.TurboQuantBitSize.Bits1,
}
# The engine's own values; it wants all of a graph's or none.
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


def search_parameters(settings: StoreSettings, *, exact: bool) -> edge.SearchParams:
    """Return the parameters of a search; an exact one uses neither the graph nor compressed vectors."""
    if exact:
        return edge.SearchParams(exact=True, quantization=edge.QuantizationSearchParams(ignore=True))
    quantization = None
    if settings.quantization != "none":
        quantization = edge.QuantizationSearchParams(rescore=settings.rescore, oversampling=settings.oversampling)
    return edge.SearchParams(hnsw_ef=settings.search_ef, quantization=quantization)


def missing_indexes(shard: edge.EdgeShard, settings: StoreSettings) -> list[edge.UpdateOperation]:
    """Return what creates the payload indexes of the declared keys that a shard lacks."""
    there = shard.info().payload_schema
    return [
        edge.UpdateOperation.create_field_index(filter_key(key), _PAYLOAD_TYPES[kind])
        for key, kind in settings.payload_schema.items()
        if not is_indexed(key, there)
    ]


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
