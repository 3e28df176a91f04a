"""The query cost section, and its baselines."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_benchmarks.bench import compare_services
from aff_benchmarks.bench.compare_services import Comparison, Counts, LitserveTrial, SearchCost
from aff_benchmarks.bench.services import LitserveSetting, litserve_settings
from aff_benchmarks.report import query_cost as module
from aff_benchmarks.report.query_cost import PLOT, query_cost
from aff_benchmarks.report.section import BenchContext, Section
from tests.support.tiny_bundle import TINY_BUNDLE

FEW = Counts(alone=4, together=8, clients=2, clip_alone=1, clip_together=2, clip_clients=2, tower="tiny")
QUICK = LitserveSetting(workers=1)
BUSY = LitserveSetting(workers=2, batch=8, batch_timeout_s=0.005)


def _cost(p50_ms: float, per_s: float, memory_mib: float | None, cpu_s: float) -> SearchCost:
    return SearchCost(p50_ms=p50_ms, p99_ms=9.0, per_s=per_s, memory_mib=memory_mib, cpu_s_per_1000=cpu_s, store_ms=0.5)


def _measured(context: BenchContext, monkeypatch: pytest.MonkeyPatch, comparison: Comparison) -> Section:
    monkeypatch.setattr(module, "compare_services", lambda *_, **__: comparison)
    return query_cost(context)


@pytest.fixture
def context(tmp_path: Path) -> BenchContext:
    return BenchContext(TINY_BUNDLE, tmp_path, 1, 50, (), None, tmp_path)


@pytest.mark.slow
def test_every_service_returns_hits(context: BenchContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COUNTS", FEW)
    monkeypatch.setattr(compare_services, "usable_cores", lambda: 1)
    section = query_cost(context)
    assert all(figure.median > 0 for figure in section.figures.values())
    assert len(section.details["trials"]) == len(litserve_settings(1)) == 2
    for name in ("ours", "clip", "fastapi", "litserve_one", "litserve_many"):
        (cost,) = section.details[name]
        assert cost["p99_ms"] >= cost["p50_ms"] > 0
        assert cost["memory_mib"] > 50
        assert cost["store_ms"] > 0
    assert (context.out / PLOT).read_text().startswith("<?xml")


def test_ratios_are_numerator_over_denominator(context: BenchContext, monkeypatch: pytest.MonkeyPatch) -> None:
    one, many = _cost(8.0, 200.0, 400.0, 9.0), _cost(12.0, 250.0, 600.0, 6.0)
    comparison = Comparison(
        ours=[_cost(4.0, 300.0, 200.0, 5.0)],
        floor=[_cost(2.5, 400.0, None, 4.0)],
        clip=[_cost(1000.0, 1.0, 2000.0, 2000.0)],
        fastapi=[_cost(6.0, 240.0, 150.0, 7.0)],
        litserve_one=[one],
        litserve_many=[many],
        trials=[LitserveTrial(setting=QUICK, cost=one), LitserveTrial(setting=BUSY, cost=many)],
        photograph_bytes=100_000.0,
        embedding_bytes=800,
    )
    section = _measured(context, monkeypatch, comparison)
    assert {key: round(one.median, 3) for key, one in section.figures.items()} == {
        "clip_p50_over_ours": 250.0,
        "clip_cpu_over_ours": 400.0,
        "clip_memory_over_ours": 10.0,
        "ours_p50_over_floor": 1.6,
        "ours_throughput_over_litserve": 1.2,
        "litserve_p50_over_ours": 2.0,
        "fastapi_p50_over_ours": 1.5,
        "fastapi_cpu_over_ours": 1.4,
        "ours_throughput_over_fastapi": 1.25,
        "litserve_cpu_over_ours": 1.2,
        "photograph_bytes_over_embedding_bytes": 125.0,
    }
    missed = [key for key, one in section.figures.items() if one.met is False]
    assert missed == ["ours_p50_over_floor"]
    assert [row[0] for row in section.tables[0].rows] == [
        "ours",
        "floor",
        "LitServe, best for one client: one worker, no batches",
        "LitServe, best for many: 2 workers, batches of up to 8",
        "FastAPI",
        "CLIP ViT-L/14",
    ]
