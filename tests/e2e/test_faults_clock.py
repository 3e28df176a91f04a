"""The machine's clock is set a day forward, and back: rates, deadlines and searches use a monotonic one."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aff_shared.web.settings import AccessKey, AccessSettings, Scope
from tests.support.fault_proxy import Pass, Refuse
from tests.support.faulty_store import FaultyStore, acknowledged, faulty_store, index, nearest, problem, search

DAY_S = 86_400.0
KEY = "a searcher's key"
BEARER = {"Authorization": f"Bearer {KEY}"}

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FaultyStore]:
    async with faulty_store(tmp_path / "qdrant") as store:
        yield store


def _set_clock(monkeypatch: pytest.MonkeyPatch, *, by_s: float) -> None:
    monkeypatch.undo()
    right, right_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: right() + by_s)
    monkeypatch.setattr(time, "time_ns", lambda: right_ns() + int(by_s * 1e9))


async def test_a_keys_limit_neither_lifts_nor_locks_when_the_clock_jumps(
    store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    key = AccessKey(name="searcher", sha256=digest, scopes=(Scope.SEARCH,), requests_per_minute=3)
    async with store.query_service(tmp_path, access=AccessSettings(keys=(key,))) as client:
        client.headers.update(BEARER)
        for jump in (0.0, DAY_S, -DAY_S):
            _set_clock(monkeypatch, by_s=jump)
            assert nearest(await search(client, "red")) == "red"
        for jump in (DAY_S, -DAY_S):
            _set_clock(monkeypatch, by_s=jump)
            answer = await search(client, "red")
            assert problem(answer) == (429, "rate_limited")
            assert int(answer.headers["Retry-After"]) <= 20


@pytest.mark.parametrize("jump", [DAY_S, -DAY_S])
async def test_durations_do_not_depend_on_jumps_of_the_clock(
    jump: float, store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "indexer").mkdir()
    (tmp_path / "query").mkdir()
    async with store.query_service(tmp_path / "query", space_check_interval_s=60) as searcher:
        _set_clock(monkeypatch, by_s=jump)
        assert nearest(await search(searcher, "green")) == "green"
    async with (
        faulty_store(tmp_path / "another") as other,
        other.indexer(tmp_path / "indexer", store_wait_s=1) as client,
    ):
        assert acknowledged(await index(client, 0)) == {"0"}
        await other.proxy.become(Refuse())
        _set_clock(monkeypatch, by_s=-jump)
        began = time.monotonic()
        assert problem(await index(client, 1)) == (503, "store_unavailable")
        assert 0.9 < time.monotonic() - began < 10
        await other.proxy.become(Pass())
        assert acknowledged(await index(client, 0, 1)) == {"0", "1"}
