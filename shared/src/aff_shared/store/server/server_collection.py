"""How a collection of a Qdrant server is made, recognised and searched, as the settings say."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from qdrant_client import models

from aff_shared.errors import StoreRejectedError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.layout import SPACE_KEY, VECTOR_NAME
from aff_shared.store.server.server_limits import CollectionLimits
from aff_shared.store.settings import MemoryPlacement, StoreSettings


def creation_arguments(space: EmbeddingSpace, settings: StoreSettings) -> dict[str, Any]:
    """Return the arguments of `create_collection` beside the name."""
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
    """Return the space in the metadata of a collection; None where it is no gallery of this system."""
    try:
        return EmbeddingSpace.model_validate((info.config.metadata or {}).get(SPACE_KEY))
    except ValidationError:
        return None


def required_space_of(info: models.CollectionInfo, name: str) -> EmbeddingSpace:
    """Return the space in the metadata of a collection; raises StoreRejectedError where there is none."""
    space = space_of(info)
    if space is None:
        raise StoreRejectedError(
            f"the collection {name!r} has no embedding space in its metadata, so it is not a gallery of this system; "
            f"set QDRANT_COLLECTION to another name"
        )
    return space


def read_fan_out_change(params: models.CollectionParams, settings: StoreSettings) -> models.CollectionParamsDiff | None:
    """Return the change that has a node ask the next copy of another node's shard, where that node is slow or hangs.

    None where it is made already, or there is one copy alone.
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
