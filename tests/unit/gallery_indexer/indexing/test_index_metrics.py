from __future__ import annotations

from types import SimpleNamespace

import pytest

from gallery_indexer.indexing import index_metrics
from gallery_indexer.indexing.index_metrics import RecentRate


def test_the_rate_is_that_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(index_metrics, "time", SimpleNamespace(monotonic=lambda: clock.now))
    rate = RecentRate()
    assert rate.per_s() == 0
    for second in range(200):
        clock.now = 1000.0 + second
        for _ in range(3):
            rate.count()
        if second == 9:
            assert rate.per_s() == pytest.approx(30 / 9)
    assert rate.per_s() == pytest.approx(3)
    clock.now += 30
    assert rate.per_s() == pytest.approx(1.5, abs=0.06)
    clock.now += 60
    assert rate.per_s() == 0
