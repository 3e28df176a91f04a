"""What searches of a service cost: time, memory, processor."""

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

_ASKED_FOR_TIMINGS = 5
_PER = 1000


class SearchCost(BaseModel):
    """What was measured.

    Attributes:
        p50_ms: Median latency of one client.
        p99_ms: 99th percentile of it; of fewer than a hundred searches, about their slowest.
        per_s: Searches a second of many clients.
        memory_mib: Resident memory of all its processes afterwards; None where there is no process of its own.
        cpu_s_per_1000: Processor seconds of all its processes for a thousand searches of many clients.
        store_ms: Median of the vector search alone; None where it is not told.
    """

    model_config = ConfigDict(frozen=True)

    p50_ms: float
    p99_ms: float
    per_s: float
    memory_mib: float | None
    cpu_s_per_1000: float
    store_ms: float | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a service is asked.

    Attributes:
        requests: Bytes of HTTP requests, which are repeated.
        alone: Searches of one client.
        together: Searches of many clients, in all.
        clients: Many.
    """

    requests: Sequence[bytes]
    alone: int
    together: int
    clients: int


def cost_of_service(port: int, pid: int, asked: Asked) -> SearchCost:
    """Measure a service of this machine.

    Args:
        port: Of it.
        pid: Of the process that started all others of it.
        asked: Of it.

    Raises:
        RuntimeError: It refused a search.
    """
    warm_up = asked.clients if asked.alone >= asked.clients else 1
    _answered(port, asked, clients=warm_up, count=warm_up)
    alone = _answered(port, asked, clients=1, count=asked.alone)
    before = cpu_seconds(pid)
    together = _answered(port, asked, clients=asked.clients, count=asked.together)
    cpu_s = cpu_seconds(pid) - before
    return SearchCost(
        p50_ms=alone.percentile_ms(50),
        p99_ms=alone.percentile_ms(99),
        per_s=together.per_s,
        memory_mib=resident_mib(pid),
        cpu_s_per_1000=_PER * cpu_s / asked.together,
        store_ms=statistics.median(asyncio.run(_store_ms(port, asked.requests))),
    )


def cost_of_floor(floor: QueryFloor, photographs: Sequence[bytes], *, alone: int, together: int) -> SearchCost:
    """Measure the bare loop, in one thread and in as many as the service has."""
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


def _answered(port: int, asked: Asked, *, clients: int, count: int) -> Outcome:
    outcome = asyncio.run(closed_loop(port, asked.requests, clients=clients, count=count))
    if outcome.statuses[HTTPStatus.OK] != count:
        raise RuntimeError(f"of {count} searches, answers by status: {dict(outcome.statuses)}")
    return outcome


async def _store_ms(port: int, requests: Sequence[bytes]) -> list[float]:
    """Ask a few times what the vector search takes; there have to be hits.

    Raises:
        RuntimeError: There are none.
    """
    connections, found = Connections(f"http://127.0.0.1:{port}"), []
    for request in requests[:_ASKED_FOR_TIMINGS]:
        _, body = await connections.ask(request)
        answer = json.loads(body)
        if not answer["hits"]:
            raise RuntimeError("a search found nothing")
        found.append(float(answer["timings_ms"]["search"]))
    connections.close()
    return found


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
