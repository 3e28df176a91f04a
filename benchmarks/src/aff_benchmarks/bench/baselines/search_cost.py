"""The cost of searches in a service, and LitServe's best settings on this machine."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from aff_benchmarks.bench.load import Connections, Outcome, closed_loop
from aff_benchmarks.bench.measuring import cpu_seconds, resident_mib
from aff_benchmarks.bench.services import QueryFloor, running_baseline
from aff_shared.resource_limits import usable_cores

_TIMED_RESPONSES = 5
_PER = 1000


class SearchCost(BaseModel):
    """Time, memory and processor time of searches.

    Attributes:
        p50_ms: Median latency of one client.
        p99_ms: 99th percentile of the same; with fewer than a hundred searches, about the slowest.
        per_s: Searches per second of many clients.
        memory_mib: Resident memory of all service processes afterwards; None without a separate process.
        cpu_s_per_1000: Processor seconds of all service processes per thousand searches of many clients.
        store_ms: Median of the vector search alone; None if not reported.
    """

    model_config = ConfigDict(frozen=True)

    p50_ms: float
    p99_ms: float
    per_s: float
    memory_mib: float | None
    cpu_s_per_1000: float
    store_ms: float | None


@dataclass(frozen=True, slots=True)
class Workload:
    """The searches of a measurement.

    Attributes:
        requests: HTTP requests, repeated as needed.
        alone: Number of searches of one client.
        together: Total number of searches of many clients.
        clients: Number of these clients.
    """

    requests: Sequence[bytes]
    alone: int
    together: int
    clients: int


def cost_of_service(port: int, pid: int, workload: Workload) -> SearchCost:
    """Measure a local service.

    Args:
        port: Port of the service.
        pid: Id of its root process.
        workload: Searches.

    Raises:
        RuntimeError: The service rejected a search, or found nothing.
    """
    warm_up = workload.clients if workload.alone >= workload.clients else 1
    _run(port, workload, clients=warm_up, count=warm_up)
    alone = _run(port, workload, clients=1, count=workload.alone)
    before = cpu_seconds(pid)
    together = _run(port, workload, clients=workload.clients, count=workload.together)
    cpu_s = cpu_seconds(pid) - before
    return SearchCost(
        p50_ms=alone.percentile_ms(50),
        p99_ms=alone.percentile_ms(99),
        per_s=together.per_s,
        memory_mib=resident_mib(pid),
        cpu_s_per_1000=_PER * cpu_s / workload.together,
        store_ms=statistics.median(asyncio.run(_store_ms(port, workload.requests))),
    )


def cost_of_floor(floor: QueryFloor, photographs: Sequence[bytes], *, alone: int, together: int) -> SearchCost:
    """Measure the bare loop, in one thread and in as many threads as the service has."""
    latencies = [floor.search(photographs[number % len(photographs)]) for number in range(alone)]
    before = time.process_time()
    per_s = floor.per_s(photographs, together)
    cpu_s = time.process_time() - before
    return SearchCost(
        p50_ms=statistics.median(latencies),
        p99_ms=float(np.percentile(latencies, 99)),
        per_s=per_s,
        memory_mib=None,
        cpu_s_per_1000=_PER * cpu_s / together,
        store_ms=None,
    )


def _run(port: int, workload: Workload, *, clients: int, count: int) -> Outcome:
    outcome = asyncio.run(closed_loop(port, workload.requests, clients=clients, count=count))
    if outcome.statuses[HTTPStatus.OK] != count:
        raise RuntimeError(f"{count} searches, responses by status: {dict(outcome.statuses)}")
    return outcome


async def _store_ms(port: int, requests: Sequence[bytes]) -> list[float]:
    """Return the vector search times that some responses report."""
    connections, found = Connections(f"http://127.0.0.1:{port}"), []
    for request in requests[:_TIMED_RESPONSES]:
        _, body = await connections.send(request)
        answer = json.loads(body)
        if not answer["hits"]:
            raise RuntimeError("a search found nothing")
        found.append(float(answer["timings_ms"]["search"]))
    connections.close()
    return found


class LitserveSetting(BaseModel):
    """A setting of LitServe.

    Attributes:
        workers: Search processes, each with one thread of ONNX Runtime.
        batch: Maximum batch size of the encoder.
        batch_timeout_s: Maximum wait for a batch to fill.
    """

    model_config = ConfigDict(frozen=True)

    workers: int
    batch: int = 1
    batch_timeout_s: float = 0.0

    def arguments(self, bundle: Path, galleries: Sequence[Path]) -> list[str]:
        """Return the arguments of `litserve_service`, from at least one gallery per worker."""
        return [
            *("--bundle", str(bundle), "--batch", str(self.batch), "--batch-timeout", str(self.batch_timeout_s)),
            *(argument for gallery in galleries[: self.workers] for argument in ("--gallery", str(gallery))),
        ]


class LitserveTrial(BaseModel):
    """A setting and its search cost."""

    model_config = ConfigDict(frozen=True)

    setting: LitserveSetting
    cost: SearchCost


def litserve_settings(cores: int) -> list[LitserveSetting]:
    """Return settings with one worker and one per core, each without batches and with batches of 8 within 5 ms."""
    workers = dict.fromkeys((1, cores))
    return [
        LitserveSetting(workers=count, batch=batch, batch_timeout_s=timeout)
        for count in workers
        for batch, timeout in ((1, 0.0), (8, 0.005))
    ]


def try_litserve(bundle: Path, galleries: Sequence[Path], workload: Workload) -> list[LitserveTrial]:
    """Measure every setting once.

    Args:
        bundle: Directory of the model bundle.
        galleries: Directories of equal embedded collections, one per core.
        workload: Searches per setting.
    """
    trials = []
    for setting in litserve_settings(usable_cores()):
        with running_baseline("litserve_service", setting.arguments(bundle, galleries)) as baseline:
            trials.append(LitserveTrial(setting=setting, cost=cost_of_service(baseline.port, baseline.pid, workload)))
    return trials


def best_for_many(trials: Sequence[LitserveTrial]) -> LitserveSetting:
    """Return the setting with the most searches per second."""
    return max(trials, key=lambda trial: trial.cost.per_s).setting


def best_for_one(trials: Sequence[LitserveTrial]) -> LitserveSetting:
    """Return the setting with the lowest median latency."""
    return min(trials, key=lambda trial: trial.cost.p50_ms).setting
