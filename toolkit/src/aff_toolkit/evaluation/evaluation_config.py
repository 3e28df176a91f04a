"""What is evaluated, and how the gallery is searched."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from aff_toolkit.evaluation.benchmarks.benchmark_choice import BenchmarkChoice

Mode = Literal["asymmetric", "symmetric", "light-only"]
Side = Literal["light", "heavy"]

# The encoder of the queries, and that of the gallery.
PAIRINGS: dict[Mode, tuple[Side, Side]] = {
    "asymmetric": ("light", "heavy"),
    "symmetric": ("heavy", "heavy"),
    "light-only": ("light", "light"),
}


class EvaluationConfig(BaseModel):
    """How an evaluation runs.

    Attributes:
        benchmark: What is evaluated on.
        search: `exact` compares every query with every gallery image; `live` asks the services over HTTP.
        depth: Gallery images of each ranking that are kept. Exact search knows the rank of every labelled image
            beyond it too; the live services give no more than this.
        precision: Of the query encoder, in exact search; live, the services decide.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmark: BenchmarkChoice
    search: Literal["exact", "live"] = "exact"
    depth: int = Field(default=1000, ge=1)
    precision: Literal["auto", "fp32", "int8"] = "auto"
