"""A load test of both services with mixed traffic: responses, latencies, and growth of the processes."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from aff_benchmarks.bench.load import Connections, Outcome, at_moments
from aff_benchmarks.bench.load_mix import CHANGES, Kind, LoadMix, LoadRequest, mix_of_gallery
from aff_benchmarks.bench.measuring import ProcessOverTime, watch, with_children
from aff_benchmarks.bench.synthetic_gallery import jpeg_photograph, write_gallery
from aff_benchmarks.records import FrozenModel
from aff_shared.bundles.bundle import load_manifest
from aff_shared.store.settings import StoreSettings
from aff_toolkit.local.local_service import local_services

_GROWTH_GOAL_MB_PER_MIN = 1.0  # of a process's resident memory, after the warm-up
_PHOTOGRAPHS = 16
_CLIENTS = 8
_CAPACITY_S = 5.0
_CAPACITY_SHARE = 0.5
_RESPONSE_S = 60.0
_SAMPLES = 240
_LEAST_BETWEEN_SAMPLES_S = 0.1
_NO_RESPONSE = 0


@dataclass(frozen=True, slots=True)
class Services:
    """A running pair of services, with the same API key or None.

    Attributes:
        pids: Ids of their local processes, whose descendants are watched too.
    """

    query_url: str
    indexer_url: str
    pids: Sequence[int] = ()
    key: str | None = None


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """The load to send.

    Attributes:
        per_s: Requests per second; None for half of the capacity, which is measured first.
        even: Whether intervals are equal; otherwise moments are random.
    """

    seconds: float
    warm_up_s: float
    index_share: float
    per_s: float | None = None
    even: bool = False


class KindLoad(FrozenModel):
    """Requests of one kind; latencies in ms of the responses of status 200, from the due time; None without any."""

    requests: int
    rejected: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None

    @classmethod
    def of_outcome(cls, outcome: Outcome) -> KindLoad:
        """Summarise an outcome."""
        percents = {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99, "max_ms": 100}
        return cls(
            requests=outcome.statuses.total(),
            rejected=outcome.statuses[HTTPStatus.TOO_MANY_REQUESTS],
            **{name: outcome.percentile_ms(one) if outcome.latencies_ms else None for name, one in percents.items()},
        )


class LoadBench(FrozenModel):
    """The results of a load test, after the warm-up.

    Attributes:
        capacity_per_s: Responses per second to clients that wait for each response; None if not measured.
        answers: Number of responses by status and problem code, including the warm-up; `no answer` for none.
        failed: Number of responses of status 500 and over, and of requests without a response.
        goals: Whether no request failed (`failures`), and whether no process's resident memory grows by more than 1 MiB
            per minute (`growth`).
    """

    per_s: float
    capacity_per_s: float | None
    seconds: float
    kinds: dict[Kind, KindLoad]
    answers: dict[str, int]
    failed: int
    rejected: float
    processes: list[ProcessOverTime]
    goals: dict[str, bool]


@contextmanager
def own_services(bundle: Path, gallery: int) -> Iterator[Services]:
    """Start both services on an embedded gallery of synthetic embeddings, and stop them at the end.

    Raises:
        BundleError: The bundle cannot be used.
        ServiceNotReadyError: The services did not start.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        write_gallery(StoreSettings(url="", edge_path=path / "gallery"), load_manifest(bundle).space, gallery)
        with local_services(bundle, path / "gallery", path / "services.log") as running:
            yield Services(running.query_url, running.indexer_url, [running.process.pid])


def bench_load(services: Services, plan: LoadPlan) -> LoadBench:
    """Load running services with procedural photographs; indexed images are deleted at the end.

    Raises:
        InvalidParameterError: The gallery is empty.
        ServiceError: A service rejected the first requests.
        ServiceUnreachableError: A service did not respond.
    """
    photographs = [jpeg_photograph(number) for number in range(_PHOTOGRAPHS)]
    mix = mix_of_gallery(services.query_url, services.indexer_url, photographs, plan.index_share, services.key)
    return asyncio.run(_Load(services, plan, mix).measure())


@dataclass(slots=True)
class _Responses:
    """Responses of a phase."""

    outcomes: dict[Kind, Outcome] = field(default_factory=lambda: {kind: Outcome() for kind in Kind})
    named: Counter[str] = field(default_factory=Counter)

    def note(self, kind: Kind, status: int, body: bytes, due: float) -> None:
        self.outcomes[kind].note(status, due)
        self.named[_name(status, body)] += 1

    def statuses(self) -> Counter[int]:
        return sum((outcome.statuses for outcome in self.outcomes.values()), Counter())

    def failed(self) -> int:
        return sum(n for status, n in self.statuses().items() if status == _NO_RESPONSE or status >= 500)  # noqa: PLR2004


class _Load:
    def __init__(self, services: Services, plan: LoadPlan, mix: LoadMix) -> None:
        self._pids = services.pids
        self._plan = plan
        self._mix = mix
        self._queries, self._indexer = Connections(services.query_url), Connections(services.indexer_url)

    async def measure(self) -> LoadBench:
        capacity = await self._capacity_per_s() if self._plan.per_s is None else None
        per_s = self._plan.per_s or _CAPACITY_SHARE * (capacity or 0)
        warm_up = await self._phase(per_s, self._plan.warm_up_s)
        every_s = max(_LEAST_BETWEEN_SAMPLES_S, self._plan.seconds / _SAMPLES)
        watching = asyncio.create_task(watch(with_children(self._pids), every_s=every_s))
        measured = await self._phase(per_s, self._plan.seconds)
        watching.cancel()
        processes = [ProcessOverTime.of_samples(pid, samples) for pid, samples in (await watching).items()]
        for request in list(self._mix.last_deletions()):
            await self._send(request)
        for connections in (self._queries, self._indexer):
            connections.close()
        statuses, failed = measured.statuses(), warm_up.failed() + measured.failed()
        growth = all(one.resident_mb_per_min <= _GROWTH_GOAL_MB_PER_MIN for one in processes)
        return LoadBench(
            per_s=per_s,
            capacity_per_s=capacity,
            seconds=self._plan.seconds,
            kinds={kind: KindLoad.of_outcome(outcome) for kind, outcome in measured.outcomes.items()},
            answers=dict(sorted((warm_up.named + measured.named).items())),
            failed=failed,
            rejected=statuses[HTTPStatus.TOO_MANY_REQUESTS] / max(1, statuses.total()),
            processes=processes,
            goals={"failures": failed == 0, "growth": growth},
        )

    async def _phase(self, per_s: float, seconds: float) -> _Responses:
        responses = _Responses()

        async def send(_: int, due: float) -> None:
            request = self._mix.draw()
            responses.note(request.kind, *await self._send(request), due)

        await at_moments(send, per_s=per_s, seconds=seconds, even=self._plan.even)
        return responses

    async def _capacity_per_s(self) -> float:
        successes = 0
        began = time.perf_counter()

        async def client() -> None:
            nonlocal successes
            while time.perf_counter() < began + _CAPACITY_S:
                status, _ = await self._send(self._mix.draw())
                successes += status == HTTPStatus.OK

        await asyncio.gather(*(client() for _ in range(_CLIENTS)))
        return successes / (time.perf_counter() - began)

    async def _send(self, request: LoadRequest) -> tuple[int, bytes]:
        status, body = _NO_RESPONSE, b""
        try:
            async with asyncio.timeout(_RESPONSE_S):
                status, body = await (self._indexer if request.kind in CHANGES else self._queries).send(request.data)
        except OSError:  # including TimeoutError
            pass
        self._mix.settle(request, status)
        return status, body


def _name(status: int, body: bytes) -> str:
    if status == _NO_RESPONSE:
        return "no answer"
    try:
        return f"{status} {json.loads(body)['code']}" if status >= HTTPStatus.BAD_REQUEST else str(status)
    except (ValueError, KeyError, TypeError):
        return str(status)
