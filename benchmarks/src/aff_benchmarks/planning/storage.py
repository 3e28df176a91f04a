"""The memory and the disk of a gallery."""

from __future__ import annotations

from dataclasses import dataclass

from aff_benchmarks.planning.figure import Basis, Figure
from aff_benchmarks.planning.gallery_bytes import HNSW_M, embedding_bytes, graph_bytes
from aff_benchmarks.planning.plan_request import PlannedQuantization, PlanRequest
from aff_benchmarks.planning.unit_costs import UnitCosts

VECTOR_NAMES: dict[PlannedQuantization, str] = {"none": "float32", "int8": "int8", "turbo4": "turbo4"}
_VECTOR_RULES = {"none": "images x D x 4", "int8": "images x D", "turbo4": "images x D / 2, 4 bits a number"}


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes.

    Attributes:
        vectors: Of the embeddings, by their compression.
        graph: Of the HNSW graph.
        records: Of all else on the disk.
        memory: Of one copy.
        disk: Of one copy.
        memory_in_all: With replicas and headroom.
        disk_in_all: Likewise.
    """

    vectors: dict[PlannedQuantization, float]
    graph: float
    records: float
    memory: float
    disk: float
    memory_in_all: float
    disk_in_all: float


def storage_of(request: PlanRequest, costs: UnitCosts) -> Storage:
    """Return what a gallery takes: in memory what a search compares and the graph, on the disk everything."""
    vectors = {kind: request.images * embedding_bytes(request.dimension, kind) for kind in VECTOR_NAMES}
    graph = request.images * graph_bytes()
    records = request.images * costs.record_bytes
    memory = vectors[request.quantization] + graph
    compressed = vectors[request.quantization] if request.quantization != "none" else 0
    disk = vectors["none"] + compressed + graph + records
    factor = request.replicas * request.headroom
    return Storage(vectors, graph, records, memory, disk, factor * memory, factor * disk)


def storage_figures(request: PlanRequest, costs: UnitCosts, storage: Storage) -> list[Figure]:
    """Return the storage as figures of a plan."""
    kind = VECTOR_NAMES[request.quantization]
    on_disk = "float32" if request.quantization == "none" else f"float32 and {kind}"
    factor = f"x {request.replicas} replicas x {request.headroom:g} headroom"
    vectors = [
        _figure(f"vectors_{name}", f"embeddings, {name}", storage.vectors[of], "arithmetic", _VECTOR_RULES[of])
        for of, name in VECTOR_NAMES.items()
    ]
    links = f"4 (2m + m / (m - 1)) bytes an image, m = {HNSW_M}"
    records = f"{costs.record_bytes:g} bytes an image, at {costs.searched_images:,} images"
    return [
        *vectors,
        _figure("graph", "HNSW graph", storage.graph, "arithmetic", links),
        _figure("records", "records on disk", storage.records, "measured", records),
        _figure("memory", "memory of one copy", storage.memory, "arithmetic", f"{kind} embeddings, graph: pinned"),
        _figure("disk", "disk of one copy", storage.disk, "measured", f"{on_disk} embeddings, graph, records"),
        _figure("memory_in_all", "memory in all", storage.memory_in_all, "assumed", factor),
        _figure("disk_in_all", "disk in all", storage.disk_in_all, "assumed", factor),
    ]


def _figure(key: str, name: str, value: float, basis: Basis, how: str) -> Figure:
    return Figure(key=key, name=name, value=value, unit="bytes", basis=basis, how=how)
