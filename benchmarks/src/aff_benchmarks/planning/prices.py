"""What a gallery costs to make, and its searches."""

from __future__ import annotations

from aff_benchmarks.planning.cluster import Cluster
from aff_benchmarks.planning.figure import Figure
from aff_benchmarks.planning.plan_request import PlanRequest
from aff_benchmarks.planning.work import Work

_SEARCHES = 1_000_000
_SECONDS_PER_HOUR = 3600


def price_figures(request: PlanRequest, cluster: Cluster, work: Work) -> list[Figure]:
    """Return the prices: of indexing once, of an hour of searching, and of a million searches.

    The machines are paid for whether they are searched or not: the price of a search is that at the planned rate.
    """
    hourly = cluster.nodes * request.node_hour_price + work.query_cores * request.core_hour_price
    per_million = hourly * _SEARCHES / (request.qps * _SECONDS_PER_HOUR)
    gpu = f"{request.gpu_hour_price:g} a GPU hour"
    machines = f"{request.node_hour_price:g} a node, {request.core_hour_price:g} a query core"
    rows = [
        ("index_price", "price of indexing once", work.gpu_hours * request.gpu_hour_price, gpu),
        ("hour_price", "price of an hour", hourly, machines),
        ("million_price", "price of a million searches", per_million, f"an hour's, at {request.qps:g} searches/s"),
    ]
    return [
        Figure(key=key, name=name, value=value, unit="currency", basis="assumed", how=how)
        for key, name, value, how in rows
    ]
