"""The work of indexing a gallery and of searching it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aff_benchmarks.planning.cluster import Cluster
from aff_benchmarks.planning.figure import Figure
from aff_benchmarks.planning.plan_request import PlanRequest
from aff_benchmarks.planning.unit_costs import UnitCosts

_HITS = 10
_OVERSAMPLING = 2
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Work:
    """Of cards and cores.

    Attributes:
        gpu_hours: To index the gallery once.
        query_cores_per_1000: Of the query service, busy all the time, for 1,000 searches a second.
        query_cores: Whole cores of the query service, at the target load.
        search_cores: Of all Qdrant nodes, at the target load.
        reads_per_s: Vectors read from the disks of all nodes, to be compared again with the query.
    """

    gpu_hours: float
    query_cores_per_1000: float
    query_cores: int
    search_cores: float
    reads_per_s: float


def shard_search_ms(images: float, request: PlanRequest, costs: UnitCosts) -> float:
    """Return the assumed milliseconds of a core for the vector search of one shard.

    What was measured, grown with the logarithm of the shard's images and in proportion to the dimension; never less.
    """
    growth = max(1.0, math.log(max(images, 1)) / math.log(costs.searched_images))
    wider = max(1.0, request.dimension / costs.searched_dimension)
    return costs.search_ms[request.quantization] * growth * wider


def work_of(request: PlanRequest, costs: UnitCosts, cluster: Cluster) -> Work:
    """Return the work; every search goes to one replica of every shard."""
    images_per_s = request.index_images_per_s or costs.index_images_per_s
    query_ms = request.query_core_ms or costs.query_core_ms
    shard_ms = shard_search_ms(request.images / cluster.shards, request, costs)
    reads = 0 if request.quantization == "none" else _HITS * _OVERSAMPLING
    return Work(
        gpu_hours=request.images / images_per_s / _SECONDS_PER_HOUR,
        query_cores_per_1000=query_ms,  # 1,000 searches a second, each a thousandth of a core second per millisecond
        query_cores=math.ceil(request.qps * query_ms / 1000 / request.target_load),
        search_cores=request.qps * cluster.shards * shard_ms / 1000 / request.target_load,
        reads_per_s=request.qps * cluster.shards * reads,
    )


def work_figures(request: PlanRequest, costs: UnitCosts, cluster: Cluster, work: Work) -> list[Figure]:
    """Return the work as figures of a plan."""
    card = "measured" if request.index_images_per_s is None else "given"
    core = "measured" if request.query_core_ms is None else "given"
    rate, query_ms = (
        request.index_images_per_s or costs.index_images_per_s,
        request.query_core_ms or costs.query_core_ms,
    )
    load = f"at {request.target_load:.0%} load"
    search_ms = costs.search_ms[request.quantization]
    grown = f"{search_ms:g} ms a shard of {costs.searched_images:,}, x log of images, x D; {load}"
    rows = [
        ("gpu_hours", "GPU hours to index", work.gpu_hours, "GPU hours", card, f"{rate:g} images/s of a card"),
        (
            "query_cores_per_1000",
            "query cores per 1,000 searches/s",
            work.query_cores_per_1000,
            "cores",
            core,
            f"{query_ms:g} core ms a search, decoded and encoded",
        ),
        ("query_cores", "query cores", work.query_cores, "cores", "assumed", load),
        ("search_cores", "vector search cores of all nodes", work.search_cores, "cores", "assumed", grown),
        (
            "search_cores_per_node",
            "vector search cores of a node",
            work.search_cores / cluster.nodes,
            "cores",
            "assumed",
            "choose nodes that have them",
        ),
        (
            "reads_per_s",
            "disk reads/s of all nodes",
            work.reads_per_s,
            "reads/s",
            "assumed",
            f"{_HITS} hits x {_OVERSAMPLING} of every shard compared again",
        ),
    ]
    return [_figure(*row) for row in rows]


def _figure(key: str, name: str, value: float, unit: str, basis: str, how: str) -> Figure:
    if basis == "given":
        return Figure(key=key, name=name, value=value, unit=unit, basis="assumed", how=f"{how}, as given")
    return Figure.model_validate({"key": key, "name": name, "value": value, "unit": unit, "basis": basis, "how": how})
