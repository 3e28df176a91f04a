"""Both services under mixed load for a long time: what they answer, how fast, and whether they grow."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from aff_benchmarks.bench.bench_query import jpeg_photograph
from aff_benchmarks.bench.load import Connections, Outcome, at_moments
from aff_benchmarks.bench.load_mix import CHANGES, Asked, Kind, LoadMix, mix_of_gallery
from aff_benchmarks.bench.load_report import GROWTH_GOAL_MB_PER_MIN, KindLoad, LoadBench
from aff_benchmarks.bench.measuring import ProcessOverTime, watch, with_children
from aff_benchmarks.bench.synthetic_gallery import write_gallery
from aff_shared.bundles.bundle import load_manifest
from aff_shared.store.settings import StoreSettings
from aff_toolkit.local.local_service import local_services

_PHOTOGRAPHS = 16
_CLIENTS = 8
_CAPACITY_S = 5.0
_ANSWER_S = 60.0
_SAMPLES = 240
_LEAST_BETWEEN_SAMPLES_S = 0.1
_NO_ANSWER = 0


@dataclass(frozen=True, slots=True)
class Services:
    """A running pair.

    Attributes:
        query_url: Address of the query service.
        indexer_url: Address of the indexer.
        pids: Processes of this machine that they run in; those that they started belong to them.
        key: Of both, where they have keys.
    """

    query_url: str
    indexer_url: str
    pids: Sequence[int] = ()
    key: str | None = None


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What is sent.

    Attributes:
        seconds: That are measured.
        warm_up_s: Seconds of the same load before.
        index_share: Share of the requests that index images, or delete them.
        per_s: Requests a second; None takes a share of the capacity, which is measured first.
        capacity_share: That share.
        even: Requests come at equal distances; else at random moments.
    """

    seconds: float
    warm_up_s: float
    index_share: float
    per_s: float | None = None
    capacity_share: float = 0.5
    even: bool = False


@contextmanager
def own_services(bundle: Path, gallery: int) -> Iterator[Services]:
    """Start both services on an embedded gallery of synthetic embeddings, and end them.

    Raises:
        BundleError: The bundle cannot be used.
        ServiceNotReadyError: They did not start.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        write_gallery(StoreSettings(url="", edge_path=path / "gallery"), load_manifest(bundle).space, gallery)
        with local_services(bundle, path / "gallery", path / "services.log") as running:
            yield Services(running.query_url, running.indexer_url, [running.process.pid])


def bench_load(services: Services, plan: LoadPlan) -> LoadBench:
    """Measure a running pair with procedural photographs; what is indexed is deleted again.

    Raises:
        InvalidParameterError: The gallery is empty.
        ServiceError: A service refused the first requests.
        ServiceUnreachableError: No answer.
    """
    photographs = [jpeg_photograph(number, (480, 640)) for number in range(_PHOTOGRAPHS)]
    mix = mix_of_gallery(services.query_url, services.indexer_url, photographs, plan.index_share, services.key)
    return asyncio.run(_Load(services, plan, mix).measure())


@dataclass(slots=True)
class _Answers:
    """Of a phase."""

    outcomes: dict[Kind, Outcome] = field(default_factory=lambda: {kind: Outcome() for kind in Kind})
    named: Counter[str] = field(default_factory=Counter)

    def note(self, kind: Kind, status: int, body: bytes, due: float) -> None:
        self.outcomes[kind].note(status, due)
        self.named[_name(status, body)] += 1

    def count(self, low: int, high: int) -> int:
        """Return the answers of the statuses from `low` up to, not including, `high`."""
        statuses: Counter[int] = sum((outcome.statuses for outcome in self.outcomes.values()), Counter())
        return sum(count for status, count in statuses.items() if low <= status < high)


class _Load:
    def __init__(self, services: Services, plan: LoadPlan, mix: LoadMix) -> None:
        self._pids = services.pids
        self._plan = plan
        self._mix = mix
        self._queries, self._indexer = Connections(services.query_url), Connections(services.indexer_url)

    async def measure(self) -> LoadBench:
        capacity = None
        if self._plan.per_s is None:
            capacity = await self._capacity_per_s()
        per_s = self._plan.per_s or self._plan.capacity_share * (capacity or 0)
        warm_up = await self._phase(per_s, self._plan.warm_up_s)
        every_s = max(_LEAST_BETWEEN_SAMPLES_S, self._plan.seconds / _SAMPLES)
        watching = asyncio.create_task(watch(with_children(self._pids), every_s=every_s))
        answers = await self._phase(per_s, self._plan.seconds)
        watching.cancel()
        processes = [ProcessOverTime.of_samples(pid, samples) for pid, samples in (await watching).items()]
        for asked in list(self._mix.last_deletions()):
            await self._ask(asked)
        self._queries.close()
        self._indexer.close()
        failed = sum(phase.count(500, 600) + phase.count(_NO_ANSWER, 1) for phase in (warm_up, answers))
        requests = answers.count(0, 600)
        return LoadBench(
            per_s=per_s,
            capacity_per_s=capacity,
            seconds=self._plan.seconds,
            kinds={kind: KindLoad.of_outcome(outcome) for kind, outcome in answers.outcomes.items()},
            answers=dict(sorted((warm_up.named + answers.named).items())),
            failed=failed,
            refused=answers.count(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.TOO_MANY_REQUESTS + 1) / max(1, requests),
            processes=processes,
            goals={
                "failures": failed == 0,
                "growth": all(one.resident_mb_per_min <= GROWTH_GOAL_MB_PER_MIN for one in processes),
            },
        )

    async def _phase(self, per_s: float, seconds: float) -> _Answers:
        answers = _Answers()

        async def ask(_: int, due: float) -> None:
            asked = self._mix.draw()
            answers.note(asked.kind, *await self._ask(asked), due)

        await at_moments(ask, per_s=per_s, seconds=seconds, even=self._plan.even)
        return answers

    async def _capacity_per_s(self) -> float:
        answered = 0
        began = time.perf_counter()

        async def client() -> None:
            nonlocal answered
            while time.perf_counter() < began + _CAPACITY_S:
                status, _ = await self._ask(self._mix.draw())
                answered += status == HTTPStatus.OK

        await asyncio.gather(*(client() for _ in range(_CLIENTS)))
        return answered / (time.perf_counter() - began)

    async def _ask(self, asked: Asked) -> tuple[int, bytes]:
        status, body = _NO_ANSWER, b""
        try:
            async with asyncio.timeout(_ANSWER_S):
                status, body = await (self._indexer if asked.kind in CHANGES else self._queries).ask(asked.data)
        except OSError:  # TimeoutError among them
            pass
        self._mix.settle(asked, status)
        return status, body


def _name(status: int, body: bytes) -> str:
    if status == _NO_ANSWER:
        return "no answer"
    if status < HTTPStatus.BAD_REQUEST:
        return str(status)
    try:
        problem: Mapping[str, object] = json.loads(body)
        return f"{status} {problem['code']}"
    except (ValueError, KeyError, TypeError):
        return str(status)
