"""A Qdrant server that is slow, unavailable, cut off, full or read-only: effects on users, and automatic recovery.

Killed indexers are in test_killed_indexing.py and test_interrupted_indexing.py, the other faults in
test_faults_*.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from aff_shared.store.gallery_catalogue import open_catalogue
from tests.support.fault_proxy import Hang, Mode, Pass, Refuse, Reset, Slow
from tests.support.faulty_store import (
    LONGEST_CALL_S,
    RETRIES,
    FaultyStore,
    acknowledged,
    becomes_ready,
    faulty_store,
    index,
    nearest,
    photograph,
    problem,
    search,
)
from tests.support.qdrant_rest_server import FULL_DISK, READ_ONLY
from tests.support.query_service import COLOURS

UPSERT = "PUT /collections/{name}/points"
AWAY = (Slow(2.0), Refuse(), Reset(), Reset(after_bytes=40), Hang())
AT_ONCE_S = 1.5

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FaultyStore]:
    async with faulty_store(tmp_path / "qdrant") as store:
        yield store


@pytest.mark.parametrize("mode", AWAY, ids=str)
async def test_a_search_without_the_store_fails_in_time_and_succeeds_as_soon_as_it_is_back(
    mode: Mode, store: FaultyStore, tmp_path: Path
) -> None:
    async with store.query_service(tmp_path) as client:
        assert nearest(await search(client, "red")) == "red"
        await store.proxy.become(mode)
        before, began = store.proxy.connections, time.monotonic()
        answer = await search(client, "red")
        assert problem(answer) == (503, "store_unavailable")
        assert time.monotonic() - began < LONGEST_CALL_S + AT_ONCE_S
        if not isinstance(mode, Refuse):  # which accepts no connection that could be counted
            assert store.proxy.connections - before in {RETRIES, RETRIES + 1}  # the first may use a kept one
        assert problem(await client.get("/readyz")) == (503, "store_unavailable")
        assert (await client.get("/healthz")).status_code == 200
        await store.proxy.become(Pass())
        assert nearest(await search(client, "blue")) == "blue"
        assert (await client.get("/readyz")).status_code == 200


async def test_one_connection_that_is_reset_costs_a_retry_and_no_search(store: FaultyStore, tmp_path: Path) -> None:
    async with store.query_service(tmp_path) as client:
        await store.proxy.become(Reset())
        asyncio.get_running_loop().call_later(0.02, lambda: asyncio.ensure_future(store.proxy.become(Pass())))
        assert nearest(await search(client, "green")) == "green"


async def test_searches_at_once_on_a_store_that_hangs_do_not_wait_for_each_other(
    store: FaultyStore, tmp_path: Path
) -> None:
    async with store.query_service(tmp_path, max_active_searches=8) as client:
        await store.proxy.become(Hang())
        began = time.monotonic()
        answers = await asyncio.gather(*(search(client, "red") for _ in range(8)))
        assert {problem(answer) for answer in answers} == {(503, "store_unavailable")}
        assert time.monotonic() - began < LONGEST_CALL_S + AT_ONCE_S


async def test_requests_at_once_of_an_indexer_whose_store_hangs_do_not_wait_for_each_other(
    store: FaultyStore, tmp_path: Path
) -> None:
    async with store.indexer(tmp_path, store_wait_s=0, catalogue_interval_s=0) as client:
        assert acknowledged(await index(client, 0)) == {"0"}
        await store.proxy.become(Hang())
        began = time.monotonic()
        answers = await asyncio.gather(*(index(client, number) for number in range(8)))
        assert {problem(answer) for answer in answers} == {(503, "store_unavailable")}
        assert time.monotonic() - began < 2 * LONGEST_CALL_S + AT_ONCE_S  # the collections, and the write


@pytest.mark.parametrize("mode", AWAY, ids=str)
async def test_indexing_without_the_store_waits_and_acknowledges_only_what_is_stored(
    mode: Mode, store: FaultyStore, tmp_path: Path
) -> None:
    async with store.indexer(tmp_path, store_wait_s=10) as client:
        assert acknowledged(await index(client, 0, 1)) == {"0", "1"}
        await store.proxy.become(mode)
        waiting = asyncio.create_task(index(client, 2, 3))
        assert problem(await client.get("/readyz")) == (503, "store_unavailable")
        assert not waiting.done()
        await store.proxy.become(Pass())
        assert acknowledged(await waiting) == {"2", "3"}
        assert set(await store.stored()) == {"0", "1", "2", "3"}
        assert (await client.get("/readyz")).status_code == 200


async def test_indexing_without_patience_is_rejected_and_can_be_sent_again(store: FaultyStore, tmp_path: Path) -> None:
    async with store.indexer(tmp_path, store_wait_s=0) as client:
        assert acknowledged(await index(client, 0)) == {"0"}
        await store.proxy.become(Refuse())
        assert problem(await index(client, 1)) == (503, "store_unavailable")
        await store.proxy.become(Pass())
        assert acknowledged(await index(client, 0, 1)) == {"0", "1"}
        assert set(await store.stored()) == {"0", "1"}


async def test_whatever_breaks_at_random_moments_no_acknowledged_image_is_lost_and_none_is_there_twice(
    store: FaultyStore, tmp_path: Path
) -> None:
    rng, count, reported = random.Random(5), 40, set[str]()

    async def send(number: int, client: httpx.AsyncClient) -> None:
        while str(number) not in reported:
            reported.update(acknowledged(await index(client, number)))

    async def break_things() -> None:
        while True:
            await store.proxy.become(rng.choice(AWAY))
            await asyncio.sleep(rng.uniform(0.01, 0.1))
            await store.proxy.become(Pass())
            await asyncio.sleep(rng.uniform(0.01, 0.1))
            assert reported <= set(await store.stored())

    async with store.indexer(tmp_path, store_wait_s=0) as client:
        await index(client, 0)
        breaking = asyncio.create_task(break_things())
        for start in range(0, count, 4):
            await asyncio.gather(*(send(number, client) for number in range(start, start + 4)))
        breaking.cancel()
        await asyncio.gather(breaking, return_exceptions=True)
    stored = await store.stored()
    assert stored == {str(number): hashlib.sha256(photograph(number)).hexdigest() for number in range(count)}


async def test_a_store_that_restarts_is_waited_for_and_has_what_it_had(store: FaultyStore, tmp_path: Path) -> None:
    async with store.indexer(tmp_path, store_wait_s=20) as indexer:
        assert acknowledged(await index(indexer, 0, 1, 2)) == {"0", "1", "2"}
        await store.peer.stop()
        waiting = asyncio.create_task(index(indexer, 2, 3))
        assert problem(await indexer.get("/readyz")) == (503, "store_unavailable")
        await asyncio.sleep(1.5)
        assert not waiting.done()
        await store.peer.start()
        receipts = (await waiting).json()["receipts"]
        assert [receipt["status"] for receipt in receipts] == ["duplicate", "indexed"]
        await becomes_ready(indexer)
        assert set(await store.stored()) == {"0", "1", "2", "3"}


async def test_searches_succeed_again_when_the_store_has_restarted(store: FaultyStore, tmp_path: Path) -> None:
    async with store.query_service(tmp_path) as client:
        assert nearest(await search(client, "white")) == "white"
        await store.peer.stop()
        assert problem(await search(client, "white")) == (503, "store_unavailable")
        await store.peer.start()
        for colour in COLOURS:
            assert nearest(await search(client, colour)) == colour
        assert (await client.get("/readyz")).status_code == 200


async def test_searches_follow_a_restoration_even_if_the_catalogue_is_seldom_read(
    store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aff_shared.store.server.catalogue._FOLLOWED_S", 0)
    async with store.query_service(tmp_path, space_check_interval_s=3600) as client:
        assert nearest(await search(client, "red")) == "red"
        other = await open_catalogue(store.settings)
        (collection,) = await other.collections()
        restoration = await other.restoration("aa" * 32)
        points = await (await other.collection(collection.space)).fetch(["blue"])
        await (await restoration.create(collection.space)).upsert([*points.values()])
        await restoration.take_place([collection])  # and the former collection is dropped
        await other.close()
        assert nearest(await search(client, "red")) == "blue"  # the only image that was restored


async def test_a_full_disk_has_its_own_error_and_leaves_searches_and_stored_images_alone(
    store: FaultyStore, tmp_path: Path
) -> None:
    async with store.indexer(tmp_path, store_wait_s=10) as client:
        assert acknowledged(await index(client, 0)) == {"0"}
        store.peer.disk_is_full = True
        tried = store.peer.calls[UPSERT]
        answer = await index(client, 1)
        assert problem(answer) == (503, "store_failed")
        assert FULL_DISK in answer.json()["detail"]
        assert store.peer.calls[UPSERT] == tried + 1
        assert acknowledged(await index(client, 0)) == {"0"}  # a duplicate: nothing is written
        store.peer.disk_is_full = False
        assert acknowledged(await index(client, 1)) == {"1"}
        assert set(await store.stored()) == {"0", "1"}


async def test_with_a_read_only_key_every_write_is_rejected_at_once_and_searches_succeed(
    store: FaultyStore, tmp_path: Path
) -> None:
    async with store.indexer(tmp_path, store_wait_s=10) as client:
        assert acknowledged(await index(client, 0)) == {"0"}
        store.peer.key_is_read_only = True
        tried = store.peer.calls[UPSERT]
        answer = await index(client, 1)
        assert problem(answer) == (500, "store_rejected")
        assert READ_ONLY in answer.json()["detail"]
        assert store.peer.calls[UPSERT] == tried + 1
        assert problem(await client.delete("/images/0")) == (500, "store_rejected")
        assert set(await store.stored()) == {"0"}


@pytest.mark.parametrize("fault", ["disk_is_full", "key_is_read_only"])
async def test_a_store_that_rejects_writes_answers_searches(fault: str, store: FaultyStore, tmp_path: Path) -> None:
    async with store.query_service(tmp_path) as client:
        setattr(store.peer, fault, True)
        assert nearest(await search(client, "blue")) == "blue"
        assert (await client.get("/readyz")).status_code == 200


async def test_the_indexer_reports_that_a_read_only_key_cannot_create_the_gallery(
    store: FaultyStore, tmp_path: Path
) -> None:
    store.peer.key_is_read_only = True
    async with store.indexer(tmp_path) as client:
        assert problem(await client.get("/readyz")) == (500, "store_rejected")
        store.peer.key_is_read_only = False
        await becomes_ready(client)
