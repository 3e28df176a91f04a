"""Strict mode, rate limits and rejections, in the words of a real server, over REST and gRPC."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from grpc import StatusCode
from qdrant_client import models

from aff_shared.errors import (
    AffError,
    InvalidFilterError,
    StoreError,
    StoreRefusalError,
    StoreRejectedError,
    StoreRequestTooLargeError,
    StoreThrottledError,
)
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.store.server.catalogue import QdrantServerCatalogue
from aff_shared.store.server.limits import in_parts, limits_of, require_supported
from aff_shared.store.server.nodes import ServerNodes
from aff_shared.store.server.store import QdrantServerStore
from aff_shared.store.settings import StoreSettings
from tests.support.gallery_points import make_points, make_space
from tests.support.local_qdrant_client import make_local_qdrant_client
from tests.support.qdrant_node import Call, QdrantNode, Refusal, qdrant_nodes
from tests.support.qdrant_rest_server import FULL_DISK

pytestmark = pytest.mark.anyio

QUERY = make_points(1)[0].embedding
IN_PARIS = PayloadFilter.model_validate({"must": [{"key": "city", "match": "Paris"}]})
STRICT = models.StrictModeConfigOutput(enabled=True, search_max_hnsw_ef=100, max_query_limit=20, upsert_max_batchsize=4)
NO_INDEX = (
    'Bad request: Index required but not found for "payload.city" of one of the following types: [keyword]. Help: '
    "Create an index for this key or use a different filter."
)
TOO_LARGE = (
    "Rate limiting exceeded: Write rate limit exceeded, request larger than rate limiter capacity, please try to split "
    "your request"
)
USED_UP = (
    "Rate limiting exceeded: Read rate limit exceeded: Operation requires 1 tokens but only 0.0 were available. Retry "
    "after 60s"
)


@pytest.fixture(params=[True, False], ids=["gRPC", "REST"])
def prefer_grpc(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def node() -> AsyncIterator[QdrantNode]:
    async with qdrant_nodes() as (node,):
        yield node


@pytest.fixture
async def store(node: QdrantNode, prefer_grpc: bool) -> AsyncIterator[QdrantServerStore]:
    rest, grpc_port = node.ports
    settings = StoreSettings(
        url=f"http://{node.host}:{rest}", grpc_port=grpc_port, prefer_grpc=prefer_grpc, retry_backoff_s=0.001
    )
    nodes = ServerNodes(settings)
    yield QdrantServerStore(nodes, "gallery-0")
    await nodes.close()


def _refusing(name: str, text: str, status: int = 400) -> Any:
    refusal = Refusal(StatusCode.INVALID_ARGUMENT, status, text)
    return lambda call: refusal if call.name == name else None


class TestRefusals:
    async def test_a_filter_by_a_key_without_an_index_names_the_key_and_the_setting(
        self, node: QdrantNode, store: QdrantServerStore
    ) -> None:
        node.reject = _refusing("search", NO_INDEX)
        with pytest.raises(InvalidFilterError, match=r'QDRANT_PAYLOAD_SCHEMA, such as {"city": "keyword"}') as raised:
            await store.search(QUERY, limit=1, payload_filter=IN_PARIS)
        assert (raised.value.status, raised.value.item) == (422, "city")
        assert node.names["search"] == 1

    @pytest.mark.parametrize(
        ("text", "item", "words"),
        [
            (
                'Bad request: Limit exceeded 50 > 20 for "limit". Help: Reduce the "limit" parameter to or below 20.',
                "limit",
                "50 is more than the 20 that the strict mode",
            ),
            (
                'Bad request: Limit exceeded 200 > 100 for "hnsw_ef". Help: Reduce the "hnsw_ef" parameter.',
                "hnsw_ef",
                "set QDRANT_SEARCH_EF=100",
            ),
            ("Bad request: Exact search disabled!. Help: Set exact=false.", "exact", "exact search disabled"),
            ("Wrong input: Vector dimension error: expected dim: 8, got 1", None, "expected dim: 8, got 1"),
            ("Wrong input: Not existing vector name error: other", None, "Not existing vector name error: other"),
        ],
    )
    async def test_a_request_over_the_stores_limits_is_a_client_error(
        self, node: QdrantNode, store: QdrantServerStore, text: str, item: str | None, words: str
    ) -> None:
        node.reject = _refusing("search", text)
        with pytest.raises(StoreRefusalError, match=words) as raised:
            await store.search(QUERY, limit=50)
        assert (raised.value.status, raised.value.item) == (422, item)
        assert node.names["search"] == 1


class TestAFullDisk:
    async def test_a_write_is_rejected_at_once_in_the_servers_words_and_searches_go_on(
        self, node: QdrantNode, store: QdrantServerStore
    ) -> None:
        full = Refusal(StatusCode.INTERNAL, 500, FULL_DISK)
        node.reject = lambda call: full if call.name in {"upsert", "delete"} else None
        for write in (store.upsert(make_points(3)), store.delete(["a"])):
            with pytest.raises(StoreError, match="No space left on device") as raised:
                await write
            assert (type(raised.value), raised.value.code) == (StoreError, "store_failed")
        assert (node.names["upsert"], node.names["delete"]) == (1, 1)
        assert await store.search(QUERY, limit=1) == []
        node.reject = lambda _: None
        await store.upsert(make_points(3))
        assert node.written == 3


class TestStrictMode:
    async def test_the_limits_of_a_collection_are_respected_and_logged_once(
        self, node: QdrantNode, store: QdrantServerStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        node.strict_mode = STRICT
        with caplog.at_level(logging.WARNING):
            await store.search(QUERY, limit=5)
            await store.search(QUERY, limit=5)
            await store.info()
            await store.upsert(make_points(10))
        assert [call.search_ef for call in node.calls if call.name == "search"] == [100, 100]
        assert [call.size for call in node.calls if call.name == "upsert"] == [4, 4, 2]
        (line,) = [record.getMessage() for record in caplog.records if "strict mode" in record.getMessage()]
        assert "search_ef 100 instead of 200" in line
        assert "query_limit 20 instead of any" in line
        assert await store.most_hits() == 20

    async def test_a_limit_that_is_set_while_the_service_runs_is_noticed(
        self, node: QdrantNode, store: QdrantServerStore
    ) -> None:
        await store.search(QUERY, limit=5)
        node.strict_mode = STRICT
        await store.info()  # as the catalogue does every few seconds
        await store.search(QUERY, limit=5)
        assert [call.search_ef for call in node.calls if call.name == "search"] == [200, 100]

    def test_limits_count_where_strict_mode_is_on_and_only_lower(self) -> None:
        settings = StoreSettings(search_ef=50, upsert_batch_size=128)
        assert limits_of(STRICT.model_copy(update={"enabled": False}), settings) == limits_of(None, settings)
        limits = limits_of(STRICT, settings)
        assert (limits.search_ef, limits.batch_size, limits.query_limit) == (50, 4, 20)

    async def test_a_page_is_read_in_pages_that_the_server_allows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        client = make_local_qdrant_client()
        store = QdrantServerStore(ServerNodes(StoreSettings(), client), "gallery-0")
        await store.create(make_space())
        await store.upsert(make_points(10))
        store._known_limits = limits_of(models.StrictModeConfigOutput(enabled=True, max_query_limit=3), StoreSettings())
        requested = []
        scroll = client.scroll

        async def watched(*args: Any, **kwargs: Any) -> Any:
            requested.append(kwargs["limit"])
            return await scroll(*args, **kwargs)

        monkeypatch.setattr(client, "scroll", watched)
        page = await store.scroll(limit=8)
        assert requested == [3, 3, 2]
        rest = await store.scroll(limit=8, cursor=page.cursor)
        ids = [point.record.item_id for point in page.points + rest.points]
        assert (len(page.points), len(rest.points), len(set(ids)), rest.cursor) == (8, 2, 10, None)
        await client.close()


class TestRates:
    async def test_an_exhausted_limit_is_raised_and_not_retried(
        self, node: QdrantNode, store: QdrantServerStore
    ) -> None:
        used_up = Refusal(StatusCode.RESOURCE_EXHAUSTED, 429, USED_UP, retry_after_s=60)
        node.reject = lambda call: used_up if call.name == "search" else None
        with pytest.raises(StoreThrottledError, match="Retry after 60s") as raised:
            await store.search(QUERY, limit=1)
        assert (raised.value.status, raised.value.headers) == (503, {"Retry-After": "60"})
        assert node.names["search"] == 1

    async def test_where_the_header_is_missing_the_words_are_read(
        self, node: QdrantNode, store: QdrantServerStore
    ) -> None:
        node.reject = lambda _: Refusal(StatusCode.RESOURCE_EXHAUSTED, 429, USED_UP)
        with pytest.raises(StoreThrottledError) as raised:
            await store.count()
        assert raised.value.retry_after_s == 60

    async def test_a_write_larger_than_the_limit_is_split(self, node: QdrantNode, store: QdrantServerStore) -> None:
        too_large = Refusal(StatusCode.RESOURCE_EXHAUSTED, 429, TOO_LARGE)
        node.reject = lambda call: too_large if call.name == "upsert" and call.size > 3 else None
        await store.upsert(make_points(10))
        assert [call.size for call in node.calls if call.name == "upsert"] == [10, 5, 2, 2, 2, 2, 2]
        assert node.written == 10

    async def test_a_part_that_is_held_up_is_waited_for_and_what_was_written_is_not_written_again(
        self, node: QdrantNode, store: QdrantServerStore
    ) -> None:
        node.strict_mode = STRICT  # four points a write
        held_up = [Refusal(StatusCode.RESOURCE_EXHAUSTED, 429, USED_UP, retry_after_s=1)]

        def reject(call: Call) -> Refusal | None:
            return held_up.pop() if call.name == "upsert" and node.written and held_up else None

        node.reject = reject
        await store.upsert(make_points(10))
        assert [call.size for call in node.calls if call.name == "upsert"] == [4, 4, 4, 2]
        assert node.written == 10


class TestParts:
    async def test_a_first_part_that_is_held_up_is_the_callers_to_wait_for(self) -> None:
        with pytest.raises(StoreThrottledError):
            await in_parts(_raising(StoreThrottledError("slow", retry_after_s=9)), [1, 2], 1, wait_s=60)

    async def test_parts_that_are_held_up_for_too_long_are_given_up_and_the_setting_is_named(self) -> None:
        done: list[int] = []

        async def held_up_after_two(part: Sequence[int]) -> None:
            if len(done) == 2:
                raise StoreThrottledError("slow", retry_after_s=61)
            done.extend(part)

        words = "2 of 5 are done, and QDRANT_RATE_LIMIT_WAIT_S=60 allows no further wait"
        with pytest.raises(StoreThrottledError, match=words) as raised:
            await in_parts(held_up_after_two, [1, 2, 3, 4, 5], 1, wait_s=60)
        assert raised.value.headers == {"Retry-After": "61"}

    async def test_waits_of_all_parts_count_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        waits: list[float] = []

        async def wait(seconds: float) -> None:
            waits.append(seconds)

        monkeypatch.setattr(asyncio, "sleep", wait)
        tries = 0

        async def held_up_every_other_time(_part: Sequence[int]) -> None:
            nonlocal tries
            tries += 1
            if tries % 2 == 0:
                raise StoreThrottledError("slow", retry_after_s=20)

        with pytest.raises(StoreThrottledError, match="4 of 9 are done"):
            await in_parts(held_up_every_other_time, list(range(9)), 1, wait_s=60)
        assert waits == [20, 20, 20]

    async def test_a_single_item_that_is_too_large_is_rejected(self) -> None:
        with pytest.raises(StoreRequestTooLargeError):
            await in_parts(_raising(StoreRequestTooLargeError("large")), [1, 2, 3], 3, wait_s=60)

    async def test_nothing_is_no_part(self) -> None:
        async with asyncio.timeout(1):
            await in_parts(_raising(AssertionError()), [], 0, wait_s=60)


def _raising(error: AffError | AssertionError) -> Any:
    async def operation(_part: Any) -> None:
        raise error

    return operation


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1.30.0")


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("settings", "server", "sentence"),
    [
        (
            {"quantization": "turbo8"},
            "1.19.0",
            "QDRANT_QUANTIZATION=turbo8 needs Qdrant 1.20, and the server is 1.19.0, this package's client 1.30.0: set "
            "QDRANT_QUANTIZATION=int8 or turbo4, or upgrade",
        ),
        ({"quantization": "turbo4"}, "1.17.1", "QDRANT_QUANTIZATION=turbo4 needs Qdrant 1.18"),
        ({"quantized_memory": "pinned"}, "1.18.2", "QDRANT_QUANTIZED_MEMORY=pinned needs Qdrant 1.19"),
        ({"vectors_memory": "pinned"}, "1.19.0", "QDRANT_VECTORS_MEMORY=pinned: the Qdrant server (1.19.0) pins"),
        ({}, "1.15.4", "the gallery's metadata needs Qdrant 1.16"),
    ],
)
def test_what_a_server_cannot_do_is_one_sentence(settings: dict[str, Any], server: str, sentence: str) -> None:
    with pytest.raises(StoreRejectedError, match=re.escape(sentence)):
        require_supported(StoreSettings(**settings), server)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("settings", "server"),
    [
        ({"quantization": "turbo8"}, "1.20.0"),
        ({"quantization": "turbo4"}, "1.18.0"),
        ({"quantization": "int8", "quantized_memory": "pinned", "vectors_memory": "cold"}, "1.19.0"),
        ({}, "1.16.0"),
        ({"quantization": "turbo8"}, "dev"),
        ({"quantization": "turbo8"}, "2.0.0"),
    ],
)
def test_what_a_server_can_do_passes(settings: dict[str, Any], server: str) -> None:
    require_supported(StoreSettings(**settings), server)


def test_a_client_that_is_too_old_is_named_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1.19.1")
    with pytest.raises(StoreRejectedError, match=r"the server is 1\.20\.3, this package's client 1\.19\.1"):
        require_supported(StoreSettings(quantization="turbo8"), "1.20.3")


@pytest.mark.anyio
@pytest.mark.parametrize("prefer_grpc", [True, False], ids=["gRPC", "REST"])
async def test_the_server_version_is_checked_before_anything_else(prefer_grpc: bool) -> None:
    async with qdrant_nodes() as (node,):
        rest, grpc_port = node.ports
        settings = StoreSettings(
            url=f"http://{node.host}:{rest}", grpc_port=grpc_port, prefer_grpc=prefer_grpc, quantization="turbo8"
        )
        catalogue = QdrantServerCatalogue(settings)
        with pytest.raises(StoreRejectedError, match=r"turbo8 needs Qdrant 1\.20, and the server is 1\.19\.0"):
            await catalogue.collections()
        await catalogue.close()
        assert [call.name for call in node.calls] == ["version"]
