"""A server that hangs, vanishes, cuts connections or loses its collection: a stand-in, and the one of `QDRANT_URL`.

A proxy stands between, as nothing here may stop the server itself. A full disk, and rejections in the words of a real
server, are played by stand-ins in the unit tests and in `tests/e2e/test_faults.py`.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from aff_shared.errors import GalleryMissingError, StoreUnavailableError
from aff_shared.store.gallery_catalogue import live_one
from aff_shared.store.server.catalogue import QdrantServerCatalogue
from aff_shared.store.settings import StoreSettings
from tests.contract.conftest import needs_server
from tests.support.fault_proxy import FaultProxy, Hang, Mode, Pass, Refuse, Reset, fault_proxy
from tests.support.gallery_points import make_points, make_space
from tests.support.qdrant_rest_server import qdrant_rest_server

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SPACE = make_space()
POINTS = make_points(40)
READ_TIMEOUT_S = 0.5


@dataclass(frozen=True)
class _Node:
    """A server behind a proxy.

    Attributes:
        proxy: Proxy between the store and the server.
        settings: Settings of the store: short waits, small batches.
    """

    proxy: FaultProxy
    settings: StoreSettings

    def beside(self, other: _Node) -> StoreSettings:
        """Return the settings of a store that has two ways to the server."""
        return self.settings.model_copy(update={"url": f"{self.proxy.url},{other.proxy.url}", "timeout_s": 20.0})


@asynccontextmanager
async def _node(port: int) -> AsyncIterator[_Node]:
    async with fault_proxy(port) as proxy:
        settings = StoreSettings(
            url=proxy.url,
            prefer_grpc=False,
            collection=f"test-{uuid.uuid4().hex}",
            read_timeout_s=READ_TIMEOUT_S,
            timeout_s=2 * READ_TIMEOUT_S,
            max_retries=1,
            retry_backoff_s=0.01,
            upsert_batch_size=4,
        )
        yield _Node(proxy, settings)


@asynccontextmanager
async def _catalogue(settings: StoreSettings) -> AsyncIterator[QdrantServerCatalogue]:
    catalogue = QdrantServerCatalogue(settings)
    try:
        yield catalogue
    finally:
        await catalogue.close()


@pytest.fixture(params=["stand-in", pytest.param("server", marks=needs_server)])
async def port(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[int]:
    """Where a server listens on this machine."""
    if request.param == "server":
        address = urlsplit(os.environ["QDRANT_URL"].split(",")[0])
        if address.hostname not in {"127.0.0.1", "localhost"}:
            pytest.skip("the proxy reaches servers of this machine alone")
        yield address.port or 6333
        return
    async with qdrant_rest_server(tmp_path) as server:
        yield server.port


@pytest.fixture
async def node(port: int) -> AsyncIterator[_Node]:
    """A server with a gallery of POINTS, which is removed at the end."""
    async with _node(port) as node:
        patient = node.settings.model_copy(update={"timeout_s": 20.0, "read_timeout_s": 20.0})
        async with _catalogue(patient) as catalogue:
            await catalogue.create(SPACE)
            await (await catalogue.collection(SPACE)).upsert(POINTS)
            yield node
            await node.proxy.become(Pass())
            for one in (await catalogue._nodes.call(lambda client: client.get_collections())).collections:
                if one.name.startswith(node.settings.collection):
                    await catalogue._delete(one.name)


@pytest.mark.parametrize("mode", [Hang(), Refuse(), Reset(), Reset(after_bytes=40)], ids=str)
async def test_without_the_server_calls_end_and_when_it_is_back_they_succeed(mode: Mode, node: _Node) -> None:
    async with _catalogue(node.settings) as catalogue:
        store = await catalogue.collection(SPACE)
        await node.proxy.become(mode)
        async with asyncio.timeout(20):
            with pytest.raises(StoreUnavailableError):
                await store.search(POINTS[0].embedding, limit=1)
            with pytest.raises(StoreUnavailableError):
                await store.upsert(POINTS[:1])
        await node.proxy.become(Pass())
        (hit,) = await store.search(POINTS[0].embedding, limit=1)
        assert hit.record == POINTS[0].record


@pytest.mark.parametrize("mode", [Hang(), Refuse(), Reset()], ids=str)
async def test_where_there_is_another_way_to_the_server_nothing_fails(mode: Mode, port: int, node: _Node) -> None:
    async with _node(port) as other, _catalogue(node.beside(other)) as catalogue:
        store = await catalogue.collection(SPACE)
        for broken, whole in ((node, other), (other, node)):  # one of them is the one that is called
            await whole.proxy.become(Pass())
            await broken.proxy.become(mode)
            (hit,) = await store.search(POINTS[1].embedding, limit=1)
            assert hit.record == POINTS[1].record
            await store.upsert(POINTS[:8])
            assert await store.count() == len(POINTS)


async def test_a_write_whose_connections_are_cut_again_and_again_is_there_once(node: _Node) -> None:
    async with _catalogue(node.settings) as catalogue:
        store, more = await catalogue.collection(SPACE), make_points(100)
        await store.upsert(POINTS[:1])  # which reads the collection's limits, too: a long answer
        before = node.proxy.connections
        await node.proxy.become(Reset(after_bytes=1000))
        await store.upsert(more)
        assert node.proxy.connections > before + 2
        await node.proxy.become(Pass())
        assert await store.count() == len(more)
        page = await store.scroll(limit=200)
        assert sorted(point.record.item_id for point in page.points) == sorted(one.record.item_id for one in more)


async def test_a_live_collection_that_another_tool_deletes_is_missing_and_not_created_again(node: _Node) -> None:
    async with _catalogue(node.settings) as catalogue:
        store = await catalogue.collection(SPACE)
        name = catalogue._name_of(SPACE.id)
        await catalogue._nodes.call(lambda client: client.delete_collection(name))
        for operation in (store.count(), store.upsert(POINTS[:1]), store.search(POINTS[0].embedding, limit=1)):
            with pytest.raises(GalleryMissingError):
                await operation
        with pytest.raises(GalleryMissingError):
            live_one(await catalogue.collections(), seen=True)
