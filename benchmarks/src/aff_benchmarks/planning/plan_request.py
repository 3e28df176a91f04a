"""What is planned: a gallery, its searches, and the machines that are to be had."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PlannedQuantization = Literal["none", "int8", "turbo4"]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PlanRequest(BaseModel):
    """The question. Every default here is an assumption, the prices above all: they are yours to set.

    Attributes:
        images: N of the gallery.
        qps: Searches a second.
        dimension: D of the embeddings.
        quantization: Of the vectors that a search compares. Compressed ones are pinned in memory, and the float32
            ones lie cold on the disk; without compression the float32 ones are in memory.
        node_memory_gib: Memory of a Qdrant node.
        node_disk_gib: Disk of a Qdrant node.
        replicas: Copies of each shard. With more than one there are three nodes at least, so that the cluster goes on
            when one is away.
        shards_per_node: Shards of the collection for each node; they cannot be divided later.
        headroom: Factor on memory and disk for ids, versions, and the segments that Qdrant makes anew while it
            optimises; 1.5 is the rule of its documentation.
        target_load: Share of their capacity at which cores work.
        index_images_per_s: Of one card with your extractors; None for what was measured.
        query_core_ms: Core milliseconds of a search in the query service; None for what was measured.
        core_hour_price: Of a core of the query service, in your currency.
        node_hour_price: Of a Qdrant node.
        gpu_hour_price: Of a card.
    """

    model_config = ConfigDict(frozen=True)

    images: Annotated[int, Field(ge=1)]
    qps: _Positive
    dimension: Annotated[int, Field(ge=2)]
    quantization: PlannedQuantization = "int8"
    node_memory_gib: _Positive = 64
    node_disk_gib: _Positive = 1000
    replicas: Annotated[int, Field(ge=1)] = 2
    shards_per_node: Annotated[int, Field(ge=1)] = 2
    headroom: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.5
    target_load: Annotated[float, Field(gt=0, le=1)] = 0.7
    index_images_per_s: _Positive | None = None
    query_core_ms: _Positive | None = None
    core_hour_price: _Price = 0.05
    node_hour_price: _Price = 0.5
    gpu_hour_price: _Price = 3.0
