"""The nodes and shards that hold a gallery."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aff_benchmarks.planning.figure import Figure
from aff_benchmarks.planning.plan_request import PlanRequest
from aff_benchmarks.planning.storage import Storage

_GIB = 2**30
_NODES_OF_A_MAJORITY = 3


@dataclass(frozen=True, slots=True)
class Cluster:
    """So many nodes, and so many shards of the collection, each on as many nodes as it has replicas."""

    nodes: int
    shards: int


def least_nodes(replicas: int) -> int:
    """Return the fewest nodes: each replica has its own, and a majority remains when one is away."""
    return max(replicas, _NODES_OF_A_MAJORITY) if replicas > 1 else 1


def fit_cluster(request: PlanRequest, storage: Storage) -> Cluster:
    """Return the smallest cluster whose memory and disk suffice."""
    nodes = max(
        math.ceil(storage.memory_in_all / (request.node_memory_gib * _GIB)),
        math.ceil(storage.disk_in_all / (request.node_disk_gib * _GIB)),
        least_nodes(request.replicas),
    )
    return Cluster(nodes=nodes, shards=nodes * request.shards_per_node)


def cluster_figures(request: PlanRequest, cluster: Cluster) -> list[Figure]:
    """Return the cluster as figures of a plan."""
    nodes = (
        f"{request.node_memory_gib:g} GiB of memory and {request.node_disk_gib:g} GiB of disk each, "
        f"{least_nodes(request.replicas)} at least"
    )
    shards = f"{request.shards_per_node} for each node"
    of_shard = request.images / cluster.shards
    return [
        Figure(key="nodes", name="Qdrant nodes", value=cluster.nodes, unit="nodes", basis="assumed", how=nodes),
        Figure(key="shards", name="shards", value=cluster.shards, unit="shards", basis="assumed", how=shards),
        Figure(
            key="images_per_shard",
            name="images of a shard",
            value=math.ceil(of_shard),
            unit="images",
            basis="assumed",
            how="images / shards",
        ),
    ]
