"""Several nodes on addresses of this machine, one of which hangs, is slow, vanishes or returns elsewhere."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from pydantic import SecretStr

from aff_shared.errors import GalleryMissingError, StoreRejectedError, StoreUnavailableError
from aff_shared.store.server import nodes as nodes_module
from aff_shared.store.server.connection import addresses_of
from aff_shared.store.server.nodes import ServerNodes
from aff_shared.store.server.store import QdrantServerStore
from aff_shared.store.settings import StoreSettings
from tests.support.gallery_points import make_points
from tests.support.qdrant_node import COUNT, QdrantNode, Refusal, qdrant_nodes

pytestmark = pytest.mark.anyio

THREE = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
READ_TIMEOUT_S = 0.5
LESS_THAN_THE_TIMEOUT_S = 20  # a busy machine needs its time

over_both = pytest.mark.parametrize("prefer_grpc", [True, False], ids=["gRPC", "REST"])


def _settings(nodes: list[QdrantNode], **changes: Any) -> StoreSettings:
    rest, grpc_port = nodes[0].ports
    given = {
        "url": ",".join(f"http://{node.host}:{rest}" for node in nodes),
        "grpc_port": grpc_port,
        "read_timeout_s": READ_TIMEOUT_S,
        "timeout_s": 60,
        "retry_backoff_s": 0.001,
    }
    return StoreSettings(**{**given, **changes})


@asynccontextmanager
async def _store(settings: StoreSettings) -> AsyncIterator[QdrantServerStore]:
    nodes = ServerNodes(settings)
    try:
        yield QdrantServerStore(nodes, "gallery-0")
    finally:
        await nodes.close()


async def _timed_count(store: QdrantServerStore) -> float:
    begun = time.monotonic()
    assert await store.count() == COUNT
    return time.monotonic() - begun


async def _asked(nodes: list[QdrantNode], store: QdrantServerStore) -> QdrantNode:
    """Return the node that calls go to."""
    before = [len(node.calls) for node in nodes]
    await store.count()
    return next(node for node, calls in zip(nodes, before, strict=True) if len(node.calls) > calls)


@over_both
class TestANodeThatFails:
    async def test_one_that_hangs_costs_one_short_wait_and_is_left_out(self, prefer_grpc: bool) -> None:
        async with qdrant_nodes(*THREE) as nodes, _store(_settings(nodes, prefer_grpc=prefer_grpc)) as store:
            hung = await _asked(nodes, store)
            hung.delay_s = math.inf
            assert READ_TIMEOUT_S <= await _timed_count(store) < LESS_THAN_THE_TIMEOUT_S
            for _ in range(20):
                await store.count()
            assert hung.names["count"] == 2  # while it answered, and once since

    async def test_all_who_wait_for_one_that_hangs_wait_together(self, prefer_grpc: bool) -> None:
        async with qdrant_nodes(*THREE) as nodes, _store(_settings(nodes, prefer_grpc=prefer_grpc)) as store:
            (await _asked(nodes, store)).delay_s = math.inf
            assert max(await asyncio.gather(*(_timed_count(store) for _ in range(8)))) < LESS_THAN_THE_TIMEOUT_S

    async def test_a_node_that_accepts_connections_but_does_not_respond_is_skipped(self, prefer_grpc: bool) -> None:
        async with qdrant_nodes(*THREE[:2]) as nodes:
            with (
                socket.create_server((THREE[2], nodes[0].ports[0])),
                socket.create_server((THREE[2], nodes[0].ports[1])),
            ):
                mute = QdrantNode(THREE[2])
                settings = _settings([nodes[0], mute, nodes[1]], prefer_grpc=prefer_grpc)
                for _ in range(4):  # the first node is drawn again each time
                    async with _store(settings) as store:
                        assert await _timed_count(store) < LESS_THAN_THE_TIMEOUT_S

    async def test_one_that_answers_late_is_passed_over(self, prefer_grpc: bool) -> None:
        async with qdrant_nodes(*THREE) as nodes, _store(_settings(nodes, prefer_grpc=prefer_grpc)) as store:
            (await _asked(nodes, store)).delay_s = 3
            assert await _timed_count(store) < LESS_THAN_THE_TIMEOUT_S

    async def test_where_the_others_answer_late_the_last_try_waits_for_them(self, prefer_grpc: bool) -> None:
        async with qdrant_nodes(*THREE) as nodes:
            settings = _settings(nodes, prefer_grpc=prefer_grpc, read_timeout_s=0.05, timeout_s=30)
            async with _store(settings) as store:
                await store.count()
                for node, delay_s in zip(nodes, (math.inf, 0.4, 0.4), strict=True):
                    node.delay_s = delay_s
                assert 0.5 <= await _timed_count(store) < 10

    async def test_one_that_vanishes_is_passed_over(self, prefer_grpc: bool) -> None:
        async with qdrant_nodes(*THREE) as nodes, _store(_settings(nodes, prefer_grpc=prefer_grpc)) as store:
            await (await _asked(nodes, store)).stop()
            assert await _timed_count(store) < LESS_THAN_THE_TIMEOUT_S

    async def test_a_write_waits_longer_and_also_fails_over(self, prefer_grpc: bool) -> None:
        async with qdrant_nodes(*THREE) as nodes:
            settings = _settings(nodes, prefer_grpc=prefer_grpc, read_timeout_s=0.05, timeout_s=0.5)
            async with _store(settings) as store:
                hung = await _asked(nodes, store)
                hung.reject = lambda call: _hang() if call.name == "upsert" else None
                await store.upsert(make_points(3))
                assert sum(node.written for node in nodes) == 3
                assert hung.written == 0

    async def test_a_node_that_is_available_again_is_used_again(self, prefer_grpc: bool) -> None:
        async with qdrant_nodes(*THREE) as nodes:
            settings = _settings(nodes, prefer_grpc=prefer_grpc, node_pause_s=0.05)
            async with _store(settings) as store:
                hung = await _asked(nodes, store)
                hung.delay_s = math.inf
                await store.count()
                assert await _asked(nodes, store) is not hung
                hung.delay_s = 0
                async with asyncio.timeout(5):
                    while await _asked(nodes, store) is not hung:  # noqa: ASYNC110 - the watch has no event
                        await asyncio.sleep(0.05)

    async def test_a_rejection_is_not_retried_on_another_node(self, prefer_grpc: bool) -> None:
        async with qdrant_nodes(*THREE) as nodes, _store(_settings(nodes, prefer_grpc=prefer_grpc)) as store:
            for node in nodes:
                node.reject = lambda _: Refusal(grpc.StatusCode.PERMISSION_DENIED, 403, "Forbidden")
            with pytest.raises(StoreRejectedError, match="Forbidden"):
                await store.count()
            assert sum(len(node.calls) for node in nodes) == 1

    async def test_where_all_hang_the_last_node_is_named(self, prefer_grpc: bool) -> None:
        async with qdrant_nodes(*THREE) as nodes:
            settings = _settings(nodes, prefer_grpc=prefer_grpc, read_timeout_s=0.05, timeout_s=0.1)
            async with _store(settings) as store:
                for node in nodes:
                    node.delay_s = math.inf
                with pytest.raises(StoreUnavailableError, match=r"server 127\.0\.0\.\d:\d+: no answer within 0.1 s"):
                    await store.count()
                assert [len(node.calls) for node in nodes] == [2, 2, 2]  # shortly by turns, and then all at once


@over_both
class TestNames:
    async def test_each_address_of_a_name_is_a_node(self, prefer_grpc: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        _resolve(monkeypatch, [*THREE])
        async with qdrant_nodes(*THREE) as nodes, _store(_named(nodes, prefer_grpc=prefer_grpc)) as store:
            (await _asked(nodes, store)).delay_s = math.inf
            assert await _timed_count(store) < LESS_THAN_THE_TIMEOUT_S

    async def test_both_addresses_of_localhost_are_one_server_that_is_waited_for(
        self, prefer_grpc: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _resolve(monkeypatch, ["127.0.0.1", "::1"])
        async with qdrant_nodes("127.0.0.1") as (node,):
            node.delay_s = 0.4
            async with _store(_named([node], prefer_grpc=prefer_grpc, read_timeout_s=0.05)) as store:
                assert await store.count() == COUNT
            assert node.names["count"] == 1

    async def test_a_server_that_returns_under_another_address_is_found(
        self, prefer_grpc: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        addresses = [THREE[0]]
        _resolve(monkeypatch, addresses)
        monkeypatch.setattr(nodes_module, "_LOOKUP_INTERVAL_IN_TROUBLE_S", 0.0)
        async with qdrant_nodes(*THREE[:2]) as nodes, _store(_named(nodes, prefer_grpc=prefer_grpc)) as store:
            await store.count()
            await nodes[0].stop()
            addresses[:] = [THREE[1]]
            assert await _timed_count(store) < LESS_THAN_THE_TIMEOUT_S
            assert nodes[1].names["count"] == 1

    async def test_names_are_looked_up_while_all_is_well(
        self, prefer_grpc: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        addresses = [THREE[0]]
        _resolve(monkeypatch, addresses)
        monkeypatch.setattr(nodes_module, "_LOOKUP_INTERVAL_S", 0.05)
        async with qdrant_nodes(*THREE[:2]) as nodes, _store(_named(nodes, prefer_grpc=prefer_grpc)) as store:
            await store.count()
            addresses[:] = [THREE[1]]
            async with asyncio.timeout(5):
                while not nodes[1].calls:
                    await store.count()
                    await asyncio.sleep(0.02)

    async def test_a_name_that_is_not_found_is_named(self, prefer_grpc: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        async def fail(_url: str) -> list[str]:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(nodes_module, "addresses_of", fail)
        async with _store(
            StoreSettings(url="http://gallery-store:6333", max_retries=0, prefer_grpc=prefer_grpc)
        ) as store:
            with pytest.raises(
                StoreUnavailableError, match=r"cannot look up .*: http://gallery-store:6333: .*not known"
            ):
                await store.count()

    async def test_the_certificate_is_that_of_the_name(
        self, prefer_grpc: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        _resolve(monkeypatch, ["127.0.0.1"])
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        for name, is_trusted in (("gallery-store", True), ("another-store", False)):
            node = QdrantNode()
            await node.start(tls=_certificate(authority, name))
            url = f"https://gallery-store:{node.ports[0]}"
            settings = _named([node], prefer_grpc=prefer_grpc, url=url, ca_cert_path=tmp_path / "ca.pem", max_retries=0)
            async with _store(settings) as store:
                if is_trusted:
                    assert await store.count() == COUNT
                else:
                    with pytest.raises(StoreUnavailableError):
                        await store.count()
                    assert node.calls == []
            await node.stop()

    async def test_a_server_is_reached_at_an_address_of_version_6(self, prefer_grpc: bool) -> None:
        async with qdrant_nodes("::1") as (node,):
            rest, grpc_port = node.ports
            settings = _settings([node], url=f"http://[::1]:{rest}", grpc_port=grpc_port, prefer_grpc=prefer_grpc)
            async with _store(settings) as store:
                assert await store.count() == COUNT


@pytest.mark.parametrize("path", ["/db", "/db/"])
async def test_a_server_below_a_path_and_behind_a_private_authority_is_called_there(
    path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _resolve(monkeypatch, ["127.0.0.1"])
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    node = QdrantNode(path="/db")
    await node.start(tls=_certificate(authority, "gallery-store"))
    url = f"https://gallery-store:{node.ports[0]}"
    async with _store(_settings([node], url=url + path, ca_cert_path=tmp_path / "ca.pem")) as store:
        assert await store.count() == COUNT
        await store.upsert(make_points(2))
    assert node.written == 2
    elsewhere = _settings([node], url=url, ca_cert_path=tmp_path / "ca.pem", prefer_grpc=False)
    async with _store(elsewhere) as store:
        with pytest.raises(GalleryMissingError):
            await store.count()
    await node.stop()


async def test_addresses_of_version_4_are_first_and_an_address_resolves_to_itself() -> None:
    assert await addresses_of("http://192.0.2.7:6333") == ["192.0.2.7"]
    assert await addresses_of("http://[::1]:6333") == ["::1"]
    assert (await addresses_of("http://localhost:6333"))[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
async def test_a_name_that_no_host_can_have_has_no_address(host: str) -> None:
    with pytest.raises(OSError, match="label"):
        await addresses_of(f"http://{host}:6333")


async def test_a_name_is_resolved_by_the_proxy_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    assert await addresses_of("https://qdrant.example") == ["qdrant.example"]
    assert "127.0.0.1" in await addresses_of("http://localhost:6333")


def _hang() -> Refusal:
    raise asyncio.CancelledError  # the call is never answered


def _named(nodes: list[QdrantNode], **changes: Any) -> StoreSettings:
    return _settings(nodes, **{"url": f"http://gallery-store:{nodes[0].ports[0]}", **changes})


def _resolve(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    async def found(_url: str) -> list[str]:
        return list(addresses)

    monkeypatch.setattr(nodes_module, "addresses_of", found)


def _certificate(authority: trustme.CA, name: str) -> tuple[ssl.SSLContext, Any]:
    certificate = authority.issue_cert(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    return context, grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), chain)])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("addresses", "warnings"), [(["172.18.0.2"], 0), (["8.8.8.8", "8.8.4.4"], 1)])
async def test_a_key_over_http_is_warned_of_once_where_the_network_is_public(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, addresses: list[str], warnings: int
) -> None:
    async def found(_: str) -> list[str]:
        return addresses

    monkeypatch.setattr(nodes_module, "addresses_of", found)
    nodes = ServerNodes(StoreSettings(url="http://qdrant.example:6333", api_key=SecretStr("a key"), timeout_s=1))
    await nodes.call(lambda _: asyncio.sleep(0))
    await nodes.close()
    reported = [record for record in caplog.records if "crosses a public network" in record.getMessage()]
    assert len(reported) == warnings
