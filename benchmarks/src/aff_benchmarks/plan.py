"""Capacity plans: the storage, machines, work and prices of a gallery."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from aff_benchmarks.records import FrozenModel

PlannedQuantization = Literal["none", "int8", "turbo4"]
Basis = Literal["arithmetic", "measured", "assumed"]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Row = tuple[str, str, float, str, Basis, str]

_VECTOR_NAMES: dict[PlannedQuantization, str] = {"none": "float32", "int8": "int8", "turbo4": "turbo4"}
_VECTOR_BITS: dict[PlannedQuantization, int] = {"none": 32, "int8": 8, "turbo4": 4}
_VECTOR_RULES = {"none": "images x D x 4", "int8": "images x D", "turbo4": "images x D / 2, 4 bits per number"}
_SEARCH_MS: dict[PlannedQuantization, float] = {"none": 1.81, "int8": 0.57, "turbo4": 0.52}
_HNSW_M = 16
_NODES_OF_A_MAJORITY = 3
_HITS, _OVERSAMPLING = 10, 2
_SEARCHES, _SECONDS_PER_HOUR, _GIB = 1_000_000, 3600, 2**30


class PlanRequest(FrozenModel):
    """Gallery, searches and machines to plan for. Every default is an assumption to be replaced, above all the prices.

    Attributes:
        qps: Searches per second.
        dimension: Embedding dimension D.
        quantization: Compression of the vectors that a search compares. Compressed vectors are pinned in memory, with
            the float32 vectors on disk; without compression the float32 vectors are in memory.
        replicas: Copies of each shard. With more than one, the plan has at least three nodes, so that the cluster
            survives the loss of one.
        shards_per_node: Shards of the collection per node; shards cannot be split later.
        headroom: Factor on memory and disk for ids, versions, and the segments that Qdrant rebuilds while it
            optimises; 1.5 is the rule of its documentation.
        target_load: Target utilisation of the cores, 0 to 1.
        index_images_per_s: Images per second that one GPU indexes with the chosen extractors; None for the measured
            value.
        query_core_ms: Core milliseconds per search in the query service; None for the measured value.
        core_hour_price: Hourly price of a query service core, in any currency; so are those of Qdrant nodes and GPUs.
    """

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


class UnitCosts(FrozenModel):
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

    index_images_per_s: float = 131
    query_core_ms: float = 6.9
    search_ms: dict[PlannedQuantization, float] = Field(default_factory=_SEARCH_MS.copy)
    searched_images: int = 500_000
    searched_dimension: int = 128
    record_bytes: float = 444


class Figure(FrozenModel):
    """One number of a plan: `key` is its name for programs, `name` that for people, `how` its formula or inputs.

    Attributes:
        basis: Weakest kind of input: `arithmetic` follows from the gallery alone, `measured` also from a measured unit
            cost, `assumed` from an assumption or a value of the request.
    """

    key: str
    name: str
    value: float
    unit: str
    basis: Basis
    how: str


class Plan(FrozenModel):
    """A request, its unit costs, and the figures that follow, each computed from those before it."""

    request: PlanRequest
    unit_costs: UnitCosts
    figures: tuple[Figure, ...] = ()

    def value(self, key: str) -> float:
        """Return the value of a figure by its key."""
        return {figure.key: figure.value for figure in self.figures}[key]


def make_plan(request: PlanRequest, costs: UnitCosts | None = None) -> Plan:
    """Return the requirements of a gallery, by default with the measured unit costs."""
    plan = Plan(request=request, unit_costs=costs or UnitCosts())
    for part in (_storage, _cluster, _work, _prices):
        figures = (Figure(**dict(zip(Figure.model_fields, row, strict=True))) for row in part(plan))
        plan = plan.model_copy(update={"figures": (*plan.figures, *figures)})
    return plan


def embedding_bytes(dimension: int, quantization: PlannedQuantization) -> float:
    """Return the bytes of one vector of `dimension` numbers, without the store's overhead."""
    return dimension * _VECTOR_BITS[quantization] / 8


def graph_bytes(m: int = _HNSW_M) -> float:
    """Return the mean bytes of an image's links in an HNSW graph, four per link.

    2m on the lowest level; m on each level above, which a node reaches with a probability of 1/m of the level below:
    1/m + 1/m^2 + ... = 1/(m - 1) levels in the mean (Malkov and Yashunin, 2018, section 4.1). Qdrant packs links, so
    this is an upper bound. `m` is at least 2.
    """
    return 4 * (2 * m + m / (m - 1))


def least_nodes(replicas: int) -> int:
    """Return the minimum number of nodes: one per replica, and a majority that survives the loss of one node."""
    return max(replicas, _NODES_OF_A_MAJORITY) if replicas > 1 else 1


def _storage(plan: Plan) -> list[_Row]:
    """Return bytes: in memory the compared vectors and the graph, on disk everything."""
    request, costs = plan.request, plan.unit_costs
    kind = request.quantization
    vectors = {one: request.images * embedding_bytes(request.dimension, one) for one in _VECTOR_NAMES}
    graph, records = request.images * graph_bytes(), request.images * costs.record_bytes
    memory = vectors[kind] + graph
    disk = vectors["none"] + (vectors[kind] if kind != "none" else 0) + graph + records
    factor = request.replicas * request.headroom
    in_all = f"x {request.replicas} replicas x {request.headroom:g} headroom"
    on_disk = "float32" if kind == "none" else f"float32 and {kind}"
    links = f"4 (2m + m / (m - 1)) bytes per image, m = {_HNSW_M}"
    of_record = f"{costs.record_bytes:g} bytes per image, at {costs.searched_images:,} images"
    pinned = f"{_VECTOR_NAMES[kind]} embeddings, graph: pinned"
    return [
        *(
            (f"vectors_{name}", f"embeddings, {name}", vectors[one], "bytes", "arithmetic", _VECTOR_RULES[one])
            for one, name in _VECTOR_NAMES.items()
        ),
        ("graph", "HNSW graph", graph, "bytes", "arithmetic", links),
        ("records", "records on disk", records, "bytes", "measured", of_record),
        ("memory", "memory, one copy", memory, "bytes", "arithmetic", pinned),
        ("disk", "disk, one copy", disk, "bytes", "measured", f"{on_disk} embeddings, graph, records"),
        ("memory_in_all", "memory, total", factor * memory, "bytes", "assumed", in_all),
        ("disk_in_all", "disk, total", factor * disk, "bytes", "assumed", in_all),
    ]


def _cluster(plan: Plan) -> list[_Row]:
    """Return the smallest cluster with enough memory and disk."""
    request, least = plan.request, least_nodes(plan.request.replicas)
    nodes = max(
        math.ceil(plan.value("memory_in_all") / (request.node_memory_gib * _GIB)),
        math.ceil(plan.value("disk_in_all") / (request.node_disk_gib * _GIB)),
        least,
    )
    shards = nodes * request.shards_per_node
    size = f"{request.node_memory_gib:g} GiB of memory and {request.node_disk_gib:g} GiB of disk each, at least {least}"
    images = math.ceil(request.images / shards)
    return [
        ("nodes", "Qdrant nodes", nodes, "nodes", "assumed", size),
        ("shards", "shards", shards, "shards", "assumed", f"{request.shards_per_node} per node"),
        ("images_per_shard", "images per shard", images, "images", "assumed", "images / shards"),
    ]


def _work(plan: Plan) -> list[_Row]:
    """Return GPU hours, cores and disk reads; every search goes to one replica of every shard."""
    request, costs = plan.request, plan.unit_costs
    images_per_s, indexing = _given_or(request.index_images_per_s, costs.index_images_per_s, "images/s per GPU")
    per_search = "core ms per search, decoded and encoded"
    query_ms, searching = _given_or(request.query_core_ms, costs.query_core_ms, per_search)
    shards, nodes = plan.value("shards"), plan.value("nodes")
    cores = request.qps / 1000 / request.target_load
    search_cores = cores * shards * _shard_search_ms(request.images / shards, plan)
    reads = 0 if request.quantization == "none" else request.qps * shards * _HITS * _OVERSAMPLING
    load = f"at {request.target_load:.0%} load"
    search_ms = f"{costs.search_ms[request.quantization]:g} ms per shard of {costs.searched_images:,}"
    searched = f"{search_ms}, x log of images, x D; {load}"
    compared = f"{_HITS} hits x {_OVERSAMPLING} of every shard compared again"
    per_node, choose = "vector search cores per node", "choose nodes with this many"
    return [
        ("gpu_hours", "GPU hours to index", request.images / images_per_s / _SECONDS_PER_HOUR, "GPU hours", *indexing),
        ("query_cores_per_1000", "query cores per 1,000 searches/s", query_ms, "cores", *searching),
        ("query_cores", "query cores", math.ceil(cores * query_ms), "cores", "assumed", load),
        ("search_cores", "vector search cores, all nodes", search_cores, "cores", "assumed", searched),
        ("search_cores_per_node", per_node, search_cores / nodes, "cores", "assumed", choose),
        ("reads_per_s", "disk reads/s, all nodes", reads, "reads/s", "assumed", compared),
    ]


def _given_or(given: float | None, measured: float, unit: str) -> tuple[float, tuple[Basis, str]]:
    """Return a requested or else measured unit cost, and its basis and text."""
    if given is not None:
        return given, ("assumed", f"{given:g} {unit}, as given")
    return measured, ("measured", f"{measured:g} {unit}")


def _shard_search_ms(images: float, plan: Plan) -> float:
    """Return the assumed core milliseconds of one shard's vector search.

    The measured time, scaled with the logarithm of the shard's images and in proportion to the dimension; never less.
    """
    request, costs = plan.request, plan.unit_costs
    growth = max(1.0, math.log(max(images, 1)) / math.log(costs.searched_images))
    return costs.search_ms[request.quantization] * growth * max(1.0, request.dimension / costs.searched_dimension)


def _prices(plan: Plan) -> list[_Row]:
    """Return prices. The machines cost the same idle or busy: the price of a search is that at the planned rate."""
    request = plan.request
    hourly = plan.value("nodes") * request.node_hour_price + plan.value("query_cores") * request.core_hour_price
    per_million = hourly * _SEARCHES / (request.qps * _SECONDS_PER_HOUR)
    indexing, gpu = plan.value("gpu_hours") * request.gpu_hour_price, f"{request.gpu_hour_price:g} per GPU hour"
    machines = f"{request.node_hour_price:g} per node, {request.core_hour_price:g} per query core"
    at_rate = f"hourly price at {request.qps:g} searches/s"
    return [
        ("index_price", "price of indexing once", indexing, "currency", "assumed", gpu),
        ("hour_price", "price per hour", hourly, "currency", "assumed", machines),
        ("million_price", "price of a million searches", per_million, "currency", "assumed", at_rate),
    ]
