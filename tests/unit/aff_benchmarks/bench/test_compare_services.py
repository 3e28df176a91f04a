"""LitServe is compared in its best settings."""

from __future__ import annotations

from pathlib import Path

from aff_benchmarks.bench.compare_services import (
    LitserveTrial,
    SearchCost,
    best_for_one_and_many,
)
from aff_benchmarks.bench.services import LitserveSetting, litserve_settings


def _trial(workers: int, p50_ms: float, per_s: float) -> LitserveTrial:
    cost = SearchCost(p50_ms=p50_ms, p99_ms=50, per_s=per_s, memory_mib=1, cpu_s_per_1000=1, store_ms=1)
    return LitserveTrial(setting=LitserveSetting(workers=workers), cost=cost)


def test_batches_are_tried_with_one_worker_and_with_one_for_each_core() -> None:
    assert [(one.workers, one.batch) for one in litserve_settings(4)] == [(1, 1), (1, 8), (4, 1), (4, 8)]
    assert [(one.workers, one.batch) for one in litserve_settings(1)] == [(1, 1), (1, 8)]


def test_latency_and_throughput_select_a_setting_each() -> None:
    trials = [_trial(1, 5.0, 100.0), _trial(2, 7.0, 150.0), _trial(3, 6.0, 140.0)]
    assert [setting.workers for setting in best_for_one_and_many(trials)] == [1, 2]


def test_each_worker_has_a_separate_gallery() -> None:
    setting = LitserveSetting(workers=2, batch=8, batch_timeout_s=0.005)
    given = setting.arguments(Path("b"), [Path("g0"), Path("g1"), Path("g2")])
    assert " ".join(given) == "--bundle b --batch 8 --batch-timeout 0.005 --gallery g0 --gallery g1"
