"""What a long load on both services has shown."""

from __future__ import annotations

from http import HTTPStatus

from pydantic import BaseModel, ConfigDict

from aff_benchmarks.bench.load import Outcome
from aff_benchmarks.bench.load_mix import Kind
from aff_benchmarks.bench.measuring import ProcessOverTime

GROWTH_GOAL_MB_PER_MIN = 1.0
"""Most that the resident memory of a process may grow, after the warm-up."""


class KindLoad(BaseModel):
    """Requests of a kind; latencies in ms, of the answers of status 200, from when a request was due; None without any.

    Attributes:
        requests: That were sent.
        refused: That were answered with 429.
    """

    model_config = ConfigDict(frozen=True)

    requests: int
    refused: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None

    @classmethod
    def of_outcome(cls, outcome: Outcome) -> KindLoad:
        """Sum up."""
        p50, p95, p99, most = (
            outcome.percentile_ms(percent) if outcome.latencies_ms else None for percent in (50, 95, 99, 100)
        )
        return cls(
            requests=outcome.statuses.total(),
            refused=outcome.statuses[HTTPStatus.TOO_MANY_REQUESTS],
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            max_ms=most,
        )


class LoadBench(BaseModel):
    """What was measured.

    Attributes:
        per_s: Requests a second.
        capacity_per_s: Answers a second of clients that wait for each answer; None where it was not asked for.
        seconds: That were measured, after the warm-up.
        kinds: Of the requests, after the warm-up.
        answers: By status and the code of the problem, warm-up included; `no answer` where there was none.
        failed: Answers of status 500 and over, and requests without an answer.
        refused: Share of the requests that were answered with 429.
        processes: Of the services, after the warm-up.
        goals: Whether nothing failed (`failures`), and whether no process's resident memory grows by more than 1 MiB a
            minute (`growth`).
    """

    model_config = ConfigDict(frozen=True)

    per_s: float
    capacity_per_s: float | None
    seconds: float
    kinds: dict[Kind, KindLoad]
    answers: dict[str, int]
    failed: int
    refused: float
    processes: list[ProcessOverTime]
    goals: dict[str, bool]
