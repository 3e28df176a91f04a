"""Inputs of a capacity plan: a request and unit costs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PlannedQuantization = Literal["none", "int8", "turbo4"]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PlanRequest(BaseModel):
    """Gallery, searches and machines to plan for. Every default is an assumption to be replaced, above all the prices.

    Attributes:
        images: Number of gallery images.
        qps: Searches per second.
        dimension: Embedding dimension D.
        quantization: Compression of the vectors that a search compares. Compressed vectors are pinned in memory, with
            the float32 vectors on disk; without compression the float32 vectors are in memory.
        node_memory_gib: Memory of a Qdrant node.
        node_disk_gib: Disk of a Qdrant node.
        replicas: Copies of each shard. With more than one, the plan has at least three nodes, so that the cluster
            survives the loss of one.
        shards_per_node: Shards of the collection per node; shards cannot be split later.
        headroom: Factor on memory and disk for ids, versions, and the segments that Qdrant rebuilds while it
            optimises; 1.5 is the rule of its documentation.
        target_load: Target utilisation of the cores, 0 to 1.
        index_images_per_s: Images per second that one GPU indexes with the chosen extractors; None for the measured
            value.
        query_core_ms: Core milliseconds per search in the query service; None for the measured value.
        core_hour_price: Hourly price of a query service core, in any currency.
        node_hour_price: Hourly price of a Qdrant node.
        gpu_hour_price: Hourly price of a GPU.
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


class UnitCosts(BaseModel):
    """Measured unit costs, with the document that records each measurement.

    Attributes:
        index_images_per_s: Images per second on one GPU. DELG, Token and DOLG, ResNet-101 at 1,024 pixels, on an H200,
            through the whole service (docs/decisions/0008). Other extractors: the speed table of docs/extractors.md.
        query_core_ms: Core milliseconds per search in the query service, mostly decoding and encoding: two cores
            answered 291 searches per second (docs/performance.md, "One client, many clients"). Measured with the
            small encoder of the tests (tests/bundles/tiny, 0.7 ms), the vector search in an embedded gallery of
            50,000 images, and the load generator on the same cores. Other encoders: docs/extractors.md, "Query
            backbones".
        search_ms: Median milliseconds of the vector search of one shard in one thread, by compression, all vectors in
            memory (docs/performance.md, "As the gallery grows", 500,000 images).
        searched_images: Number of images in that gallery.
        searched_dimension: Embedding dimension of that gallery.
        record_bytes: Bytes per image on disk in addition to its float32 vector and its graph links: record, short
            payload, ids, write-ahead log. Same table: 519 MiB for 500,000 images, less 512 and 132.3 bytes each.
    """

    model_config = ConfigDict(frozen=True)

    index_images_per_s: float = 131
    query_core_ms: float = 6.9
    search_ms: dict[PlannedQuantization, float] = {"none": 1.81, "int8": 0.57, "turbo4": 0.52}
    searched_images: int = 500_000
    searched_dimension: int = 128
    record_bytes: float = 444
