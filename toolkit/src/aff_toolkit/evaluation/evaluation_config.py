"""What is evaluated, and how the gallery is searched."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from aff_toolkit.evaluation.benchmarks.benchmark_choice import BenchmarkChoice

# Which encoders of the bundle meet.
Mode = Literal["asymmetric", "symmetric", "light-only"]
# What stands beside the bundle and needs no training.
Baseline = Literal["colour-histogram", "rootsift-vlad"]
# What has rankings of its own, and a row in the report.
Method = Mode | Baseline

Side = Literal["light", "heavy"] | Baseline

MODES: tuple[Mode, ...] = ("asymmetric", "symmetric", "light-only")
BASELINES: tuple[Baseline, ...] = ("colour-histogram", "rootsift-vlad")
BASELINE_DIMENSIONS: Mapping[str, int] = MappingProxyType({"colour-histogram": 512, "rootsift-vlad": 8192})

# The encoder of the queries, and that of the gallery, in the order of the report.
PAIRINGS: dict[Method, tuple[Side, Side]] = {
    "asymmetric": ("light", "heavy"),
    "symmetric": ("heavy", "heavy"),
    "light-only": ("light", "light"),
    "colour-histogram": ("colour-histogram", "colour-histogram"),
    "rootsift-vlad": ("rootsift-vlad", "rootsift-vlad"),
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
