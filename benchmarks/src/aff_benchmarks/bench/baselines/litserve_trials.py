"""Which way of running LitServe suits this machine best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from aff_benchmarks.bench.baselines.running_baseline import running_baseline
from aff_benchmarks.bench.baselines.search_cost import Asked, SearchCost, cost_of_service
from aff_shared.resource_limits import usable_cores


class LitserveSetting(BaseModel):
    """How LitServe runs.

    Attributes:
        workers: Processes that search; each has one thread of ONNX Runtime.
        batch: Most photographs that are encoded together.
        batch_timeout_s: That a batch waits to be full.
    """

    model_config = ConfigDict(frozen=True)

    workers: int
    batch: int = 1
    batch_timeout_s: float = 0.0

    def arguments(self, bundle: Path, galleries: Sequence[Path]) -> list[str]:
        """Return the arguments of `litserve_service`; there are as many galleries as workers, or more."""
        return [
            *("--bundle", str(bundle), "--batch", str(self.batch), "--batch-timeout", str(self.batch_timeout_s)),
            *(argument for gallery in galleries[: self.workers] for argument in ("--gallery", str(gallery))),
        ]


class LitserveTrial(BaseModel):
    """A setting, and what searches cost with it."""

    model_config = ConfigDict(frozen=True)

    setting: LitserveSetting
    cost: SearchCost


def litserve_settings(cores: int) -> list[LitserveSetting]:
    """Return one worker, and one for each core; each without batches, and with batches of 8 that wait for 5 ms."""
    workers = dict.fromkeys((1, cores))
    return [
        LitserveSetting(workers=count, batch=batch, batch_timeout_s=timeout)
        for count in workers
        for batch, timeout in ((1, 0.0), (8, 0.005))
    ]


def try_litserve(bundle: Path, galleries: Sequence[Path], asked: Asked) -> list[LitserveTrial]:
    """Measure every setting once.

    Args:
        bundle: Directory of the model bundle.
        galleries: Directories of equal embedded collections, one for each core.
        asked: Of each.
    """
    trials = []
    for setting in litserve_settings(usable_cores()):
        with running_baseline("litserve_service", setting.arguments(bundle, galleries)) as baseline:
            trials.append(LitserveTrial(setting=setting, cost=cost_of_service(baseline.port, baseline.pid, asked)))
    return trials


def best_for_many(trials: Sequence[LitserveTrial]) -> LitserveSetting:
    """Return the setting of most searches a second."""
    return max(trials, key=lambda trial: trial.cost.per_s).setting


def best_for_one(trials: Sequence[LitserveTrial]) -> LitserveSetting:
    """Return the setting of the least median latency."""
    return min(trials, key=lambda trial: trial.cost.p50_ms).setting
