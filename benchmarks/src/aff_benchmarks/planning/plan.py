"""A plan: storage, machines, work and prices of a gallery."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from aff_benchmarks.planning.cluster import cluster_figures, fit_cluster
from aff_benchmarks.planning.figure import Figure
from aff_benchmarks.planning.plan_request import PlanRequest
from aff_benchmarks.planning.prices import price_figures
from aff_benchmarks.planning.storage import storage_figures, storage_of
from aff_benchmarks.planning.unit_costs import UnitCosts
from aff_benchmarks.planning.work import work_figures, work_of


class Plan(BaseModel):
    """What was asked, what it rests on, and what follows.

    Attributes:
        request: The question.
        unit_costs: What one image and one search was measured to cost.
        figures: In the order in which each follows from those before.
    """

    model_config = ConfigDict(frozen=True)

    request: PlanRequest
    unit_costs: UnitCosts
    figures: list[Figure]

    def value(self, key: str) -> float:
        """Return a figure by its key.

        Raises:
            KeyError: There is none of that key.
        """
        return {figure.key: figure.value for figure in self.figures}[key]


def make_plan(request: PlanRequest, costs: UnitCosts | None = None) -> Plan:
    """Return what a gallery needs.

    Args:
        request: The gallery, its searches and the machines.
        costs: Other unit costs than those that were measured here.
    """
    costs = costs or UnitCosts()
    storage = storage_of(request, costs)
    cluster = fit_cluster(request, storage)
    work = work_of(request, costs, cluster)
    figures = [
        *storage_figures(request, costs, storage),
        *cluster_figures(request, cluster),
        *work_figures(request, costs, cluster, work),
        *price_figures(request, cluster, work),
    ]
    return Plan(request=request, unit_costs=costs, figures=figures)
