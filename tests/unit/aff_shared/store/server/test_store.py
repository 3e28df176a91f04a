from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import httpx
import pytest
from pydantic import SecretStr
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.conversions.conversion import RestToGrpc
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from aff_shared.errors import (
    AffError,
    EmbeddingSpaceMismatchError,
    GalleryMissingError,
    StoreError,
    StoreRefusalError,
    StoreRejectedError,
    StoreThrottledError,
    StoreUnavailableError,
)
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.store.gallery_catalogue import Collection, open_catalogue
from aff_shared.store.layout import SPACE_KEY, VECTOR_NAME
from aff_shared.store.server import catalogue as server_catalogue
from aff_shared.store.server.catalogue import QdrantServerCatalogue
from aff_shared.store.server.conversion import creation_arguments, read_fan_out_change, search_parameters, to_filter
from aff_shared.store.server.limits import limits_of
from aff_shared.store.server.nodes import ServerNodes
from aff_shared.store.server.store import QdrantServerStore
from aff_shared.store.settings import StoreSettings
from tests.support.filter_cases import FILTERS
from tests.support.flaky_qdrant_server import FlakyPoints, flaky_qdrant_server
from tests.support.gallery_points import make_points, make_space
from tests.support.local_qdrant_client import make_local_qdrant_client

pytestmark = pytest.mark.anyio

SPACE = make_space()
COLLECTION = f"gallery-{SPACE.id[:12]}"


def _settings(**changes: Any) -> StoreSettings:
    return StoreSettings(**{"url": "http://127.0.0.1:1", "retry_backoff_s": 0.001, **changes})


@pytest.fixture
async def client() -> AsyncIterator[AsyncQdrantClient]:
    client = make_local_qdrant_client()
    yield client
    await client.close()


@pytest.fixture
async def peer() -> AsyncIterator[tuple[FlakyPoints, int]]:
    async with flaky_qdrant_server() as (points, port):
        yield points, port


async def _create_collection(client: AsyncQdrantClient, name: str, **arguments: Any) -> None:
    vector = models.VectorParams(size=SPACE.dimension, distance=models.Distance.COSINE)
    await client.create_collection(name, vectors_config={VECTOR_NAME: vector}, **arguments)


class TestCreate:
    async def test_the_gallery_is_an_alias_of_a_collection_named_after_its_space(
        self, client: AsyncQdrantClient
    ) -> None:
        await QdrantServerCatalogue(_settings(indexing_threshold_kb=123), client).create(SPACE)
        (alias,) = (await client.get_aliases()).aliases
        assert (alias.alias_name, alias.collection_name) == ("gallery", COLLECTION)
        config = (await client.get_collection("gallery")).config
        assert config.metadata is not None
        assert config.metadata[SPACE_KEY] == {"id": SPACE.id, "dimension": 8, "metric": "cosine"}
        vectors = cast("dict[str, models.VectorParams]", config.params.vectors)
        assert vectors[VECTOR_NAME].size == 8
        assert vectors[VECTOR_NAME].distance is models.Distance.COSINE

    async def test_a_creation_that_ended_before_the_alias_is_completed(self, client: AsyncQdrantClient) -> None:
        await _create_collection(client, COLLECTION, metadata={SPACE_KEY: SPACE.model_dump()})
        catalogue = QdrantServerCatalogue(_settings(), client)
        await catalogue.create(SPACE)
        assert [(one.space, one.live) for one in await catalogue.collections()] == [(SPACE, True)]
        assert await (await catalogue.collection(SPACE)).count() == 0

    async def test_a_collection_of_the_same_name_and_another_space_is_left_alone(
        self, client: AsyncQdrantClient
    ) -> None:
        other = make_space("another", dimension=8)
        await _create_collection(client, COLLECTION, metadata={SPACE_KEY: other.model_dump()})
        with pytest.raises(EmbeddingSpaceMismatchError, match=COLLECTION):
            await QdrantServerCatalogue(_settings(), client).create(SPACE)
        assert (await client.get_aliases()).aliases == []

    async def test_a_collection_that_is_no_gallery_is_left_alone(self, client: AsyncQdrantClient) -> None:
        await _create_collection(client, "gallery")
        with pytest.raises(StoreRejectedError, match="set QDRANT_COLLECTION or QDRANT_COLLECTION_PREFIX to"):
            await QdrantServerCatalogue(_settings(), client).create(SPACE)
        assert (await client.get_collection("gallery")).config.metadata is None

    async def test_a_rejected_creation_is_a_rejection(
        self, client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def reject(*_: Any, **__: Any) -> None:
            raise UnexpectedResponse(403, "Forbidden", b"read only key", httpx.Headers())

        monkeypatch.setattr(client, "create_collection", reject)
        with pytest.raises(StoreRejectedError, match="read only key"):
            await QdrantServerCatalogue(_settings(), client).create(SPACE)


class TestSeveralGalleriesOnOneServer:
    async def test_each_prefix_is_a_separate_gallery(self, client: AsyncQdrantClient) -> None:
        north, south, plain = (
            QdrantServerCatalogue(_settings(collection_prefix=prefix), client) for prefix in ("north_", "south_", "")
        )
        for catalogue, count in ((north, 3), (south, 2)):
            await catalogue.create(SPACE)
            await (await catalogue.collection(SPACE)).upsert(make_points(count))
        assert {(one.alias_name, one.collection_name) for one in (await client.get_aliases()).aliases} == {
            ("north_gallery", f"north_{COLLECTION}"),
            ("south_gallery", f"south_{COLLECTION}"),
        }
        assert [len(await catalogue.collections()) for catalogue in (north, south, plain)] == [1, 1, 0]
        assert [await (await one.collection(SPACE)).count() for one in (north, south)] == [3, 2]

    async def test_a_restoration_replaces_its_own_collections_alone(
        self, client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server_catalogue, "_FOLLOWED_S", 0.0)
        north, south = (QdrantServerCatalogue(_settings(collection_prefix=one), client) for one in ("north_", "south_"))
        for catalogue in (north, south):
            await catalogue.create(SPACE)
        restoration = await north.restoration("backup")
        await (await restoration.create(SPACE)).upsert(make_points(1))
        await restoration.take_place([Collection(SPACE, live=True)])
        (name,) = {one.name for one in (await client.get_collections()).collections} - {f"south_{COLLECTION}"}
        assert name.startswith(f"north_{COLLECTION}-r")
        assert [one.live for one in await south.collections()] == [True]


class TestCollectionSettings:
    """Arguments of calls to a server, which the client's local mode ignores."""

    async def test_a_collection_is_created_from_the_settings(
        self, client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: dict[str, Any] = {}
        create = client.create_collection

        async def watched(name: str, **arguments: Any) -> Any:
            asked.update(arguments)
            return await create(name, vectors_config=arguments["vectors_config"], metadata=arguments["metadata"])

        monkeypatch.setattr(client, "create_collection", watched)
        settings = _settings(
            shard_number=6,
            replication_factor=2,
            write_consistency_factor=2,
            quantization="int8",
            quantized_memory="pinned",
            vectors_memory="cold",
            hnsw_m=32,
            hnsw_ef_construct=200,
        )
        await QdrantServerStore(ServerNodes(settings, client), COLLECTION).create(SPACE)
        assert (asked["shard_number"], asked["replication_factor"], asked["write_consistency_factor"]) == (6, 2, 2)
        assert asked["hnsw_config"] == models.HnswConfigDiff(m=32, ef_construct=200)
        vector = asked["vectors_config"][VECTOR_NAME]
        assert vector.memory is models.Memory.COLD
        int8 = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, memory=models.Memory.PINNED)
        assert vector.quantization_config == models.ScalarQuantization(scalar=int8)

    async def test_without_settings_a_server_receives_nothing_that_older_ones_do_not_support(self) -> None:
        arguments = creation_arguments(SPACE, _settings())
        assert {key for key, value in arguments.items() if value is not None} == {
            "vectors_config",
            "optimizers_config",
            "on_disk_payload",
            "metadata",
        }
        vector = arguments["vectors_config"][VECTOR_NAME].model_dump(exclude_none=True)
        assert vector == {"size": 8, "distance": models.Distance.COSINE}

    @pytest.mark.parametrize(
        ("quantization", "expected"),
        [
            ("turbo4", {"turbo": {"bits": models.TurboQuantBitSize.BITS4}}),
            ("turbo1", {"turbo": {"bits": models.TurboQuantBitSize.BITS1}}),
            ("binary", {"binary": {}}),
        ],
    )
    async def test_every_quantisation_has_its_configuration(self, quantization: str, expected: Any) -> None:
        vector = creation_arguments(SPACE, _settings(quantization=quantization))["vectors_config"][VECTOR_NAME]
        assert vector.quantization_config.model_dump(exclude_none=True) == expected

    async def test_a_search_takes_ef_and_rescoring_from_the_settings(self) -> None:
        settings = _settings(quantization="turbo4", search_ef=300, oversampling=3.0)
        rescored = models.QuantizationSearchParams(rescore=True, oversampling=3.0)
        limits = limits_of(None, settings)
        assert search_parameters(settings, limits, exact=False) == models.SearchParams(
            hnsw_ef=300, exact=False, quantization=rescored
        )
        ignored = models.QuantizationSearchParams(ignore=True)
        assert search_parameters(settings, limits, exact=True) == models.SearchParams(exact=True, quantization=ignored)
        plain = search_parameters(_settings(), limits_of(None, _settings()), exact=False)
        assert plain == models.SearchParams(hnsw_ef=200, exact=False)

    async def test_copies_of_a_shard_are_read_where_the_first_is_slow(self) -> None:
        copied = models.CollectionParams(replication_factor=2)
        change = read_fan_out_change(copied, _settings())
        assert change == models.CollectionParamsDiff(read_fan_out_delay_ms=150)
        done = models.CollectionParams(replication_factor=2, read_fan_out_delay_ms=150)
        assert read_fan_out_change(done, _settings()) is None
        assert read_fan_out_change(models.CollectionParams(replication_factor=1), _settings()) is None
        off = read_fan_out_change(done, _settings(read_fan_out_delay_ms=0))
        assert off == models.CollectionParamsDiff(read_fan_out_delay_ms=0)

    async def test_declared_keys_are_indexed_where_they_are_not(
        self, client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        async def watched(_: str, key: str, kind: models.PayloadSchemaType, *, wait: bool) -> None:
            asked.append((key, kind.value, wait))

        monkeypatch.setattr(client, "create_payload_index", watched)
        settings = _settings(payload_schema={"city": "keyword", "at": "geo"})
        store = QdrantServerStore(ServerNodes(settings, client), COLLECTION)
        await store.create(SPACE)
        await store.index_payload()
        time = ("indexed_at", "datetime", True)
        assert asked == [time, ("payload.city", "keyword", True), ("payload.at", "geo", True)]


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_can_be_sent_over_grpc(name: str) -> None:
    payload_filter = to_filter(PayloadFilter.model_validate(FILTERS[name][0]))
    assert RestToGrpc.convert_filter(payload_filter).ByteSize() > 0


class TestRestorations:
    async def test_another_process_follows_to_what_was_restored_and_nothing_else_is_left(
        self, client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server_catalogue, "_FOLLOWED_S", 0)
        ours, theirs = QdrantServerCatalogue(_settings(), client), QdrantServerCatalogue(_settings(), client)
        neighbour = QdrantServerCatalogue(_settings(collection="gallery-2"), client)
        await neighbour.create(SPACE)
        await ours.create(SPACE)
        their_store = await theirs.collection(SPACE)
        assert await their_store.count() == 0
        restoration = await ours.restoration("aa" * 32)
        await (await restoration.create(SPACE)).upsert(make_points(3))
        await restoration.take_place([Collection(SPACE, live=True)])
        with pytest.raises(GalleryMissingError):
            await their_store.count()
        assert [one.space for one in await theirs.collections()] == [SPACE]
        assert await their_store.count() == 3
        names = sorted(one.name for one in (await client.get_collections()).collections)
        assert len(names) == 2
        assert names[0] == f"gallery-2-{SPACE.id[:12]}"
        assert re.fullmatch(f"gallery-{SPACE.id[:12]}-r[0-9a-f]{{8}}", names[1])


class TestRetries:
    """Against a gRPC server on this machine that fails on request."""

    async def test_what_an_outage_interrupts_is_tried_again(self, peer: tuple[FlakyPoints, int]) -> None:
        points, port = peer
        points.failures = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED]
        catalogue = QdrantServerCatalogue(_settings(grpc_port=port))
        store = await catalogue.collection(SPACE)
        assert await store.count() == 7
        assert len(points.calls) == 3
        await catalogue.close()

    async def test_an_outage_that_lasts_is_reported_after_the_last_retry(self, peer: tuple[FlakyPoints, int]) -> None:
        points, port = peer
        points.failures = [grpc.StatusCode.UNAVAILABLE] * 9
        catalogue = QdrantServerCatalogue(_settings(grpc_port=port, max_retries=2))
        store = await catalogue.collection(SPACE)
        with pytest.raises(StoreUnavailableError, match="as told"):
            await store.count()
        assert len(points.calls) == 3
        await catalogue.close()

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            (grpc.StatusCode.INVALID_ARGUMENT, StoreRefusalError),
            (grpc.StatusCode.UNAUTHENTICATED, StoreRejectedError),
            (grpc.StatusCode.NOT_FOUND, GalleryMissingError),
            (grpc.StatusCode.INTERNAL, StoreError),
        ],
    )
    async def test_a_rejection_is_not_tried_again(
        self, peer: tuple[FlakyPoints, int], code: grpc.StatusCode, expected: type[AffError]
    ) -> None:
        points, port = peer
        points.failures = [code]
        catalogue = QdrantServerCatalogue(_settings(grpc_port=port))
        store = await catalogue.collection(SPACE)
        with pytest.raises(AffError, match="as told") as raised:
            await store.count()
        assert raised.type is expected
        assert len(points.calls) == 1
        await catalogue.close()

    async def test_a_server_that_is_too_slow_is_unavailable(self, peer: tuple[FlakyPoints, int]) -> None:
        points, port = peer
        points.delay_s = 30
        catalogue = QdrantServerCatalogue(_settings(grpc_port=port, timeout_s=0.1, max_retries=1))
        store = await catalogue.collection(SPACE)
        async with asyncio.timeout(5):
            with pytest.raises(StoreUnavailableError, match=f":{port}: no answer within 0.1 s"):
                await store.count()
        assert len(points.calls) == 2
        await catalogue.close()

    @pytest.mark.parametrize("prefer_grpc", [True, False])
    async def test_an_address_without_a_server_is_unavailable_and_named(self, prefer_grpc: bool) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            catalogue = QdrantServerCatalogue(
                _settings(url=f"http://127.0.0.1:{port}", grpc_port=port, prefer_grpc=prefer_grpc, max_retries=1)
            )
            with pytest.raises(StoreUnavailableError, match=f"Qdrant server 127.0.0.1:{port}: "):
                await catalogue.collections()
            await catalogue.close()

    @pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
    async def test_the_api_key_travels_with_every_call(self, peer: tuple[FlakyPoints, int]) -> None:
        points, port = peer
        catalogue = QdrantServerCatalogue(_settings(grpc_port=port, api_key=SecretStr("a key")))
        store = await catalogue.collection(SPACE)
        await store.count()
        assert ("api-key", "a key") in [(key, value) for key, value in points.calls[0]]
        await catalogue.close()


async def test_making_a_store_leaves_the_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(*_: Any) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", reject)
    catalogue = await open_catalogue(_settings(url="https://qdrant.example"))
    assert catalogue.name == "qdrant_server"
    await catalogue.close()


@pytest.mark.parametrize(
    ("foreign", "expected"),
    [
        (UnexpectedResponse(400, "Bad Request", b"wrong vector size", httpx.Headers()), StoreRefusalError),
        (UnexpectedResponse(404, "Not Found", b"no collection", httpx.Headers()), GalleryMissingError),
        (UnexpectedResponse(500, "Internal", b"panic", httpx.Headers()), StoreError),
        (UnexpectedResponse(503, "Unavailable", b"starting", httpx.Headers()), StoreUnavailableError),
        (ResponseHandlingException(httpx.ConnectError("refused")), StoreUnavailableError),
        (ResourceExhaustedResponse("slow down", retry_after_s=1), StoreThrottledError),
        (ConnectionResetError("reset"), StoreUnavailableError),
        (ValueError("the client cannot convert it"), StoreRejectedError),
        (RuntimeError("Client was closed"), StoreError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
async def test_no_foreign_exception_leaves_the_adapter(
    client: AsyncQdrantClient,
    monkeypatch: pytest.MonkeyPatch,
    foreign: Exception,
    expected: type[AffError],
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise foreign

    monkeypatch.setattr(client, "count", fail)
    with pytest.raises(AffError) as raised:
        await QdrantServerStore(ServerNodes(_settings(), client), COLLECTION).count()
    assert raised.type is expected
    assert raised.value.__cause__ is foreign


async def test_an_index_that_the_server_rejects_is_no_fault_of_a_request(
    client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = QdrantServerStore(ServerNodes(_settings(payload_schema={"city": "keyword"}), client), COLLECTION)
    await store.create(SPACE)

    async def reject(*_: Any, **__: Any) -> None:
        raise UnexpectedResponse(400, "Bad Request", b"Limit of payload indexes exceeded", httpx.Headers())

    monkeypatch.setattr(client, "create_payload_index", reject)
    with pytest.raises(StoreRejectedError, match="Limit of payload indexes exceeded"):
        await store.index_payload()
    await QdrantServerStore(ServerNodes(_settings(), client), COLLECTION).index_payload()  # none is declared


@pytest.mark.parametrize(
    "refused",
    ["get_collections", "get_aliases", "get_collection", "update_collection_aliases", "update_collection"],
)
async def test_what_the_server_rejects_about_collections_is_no_fault_of_a_request(
    client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    async def reject(*_: Any, **__: Any) -> None:
        raise UnexpectedResponse(400, "Bad Request", b"Wrong input", httpx.Headers())

    monkeypatch.setattr(client, refused, reject)
    with pytest.raises(StoreRejectedError, match="Wrong input"):
        await QdrantServerCatalogue(_settings(), client).create(SPACE)


async def test_a_rejected_deletion_of_a_collection_is_no_fault_of_a_request(
    client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue, other = QdrantServerCatalogue(_settings(), client), make_space("another", dimension=8)
    await catalogue.create(SPACE)
    await catalogue.create(other)

    async def reject(*_: Any, **__: Any) -> None:
        raise UnexpectedResponse(422, "Unprocessable", b"Wrong input", httpx.Headers())

    monkeypatch.setattr(client, "delete_collection", reject)
    with pytest.raises(StoreRejectedError, match="Wrong input"):
        await catalogue.drop(other.id)


async def test_writes_go_in_batches_and_wait_until_they_are_applied(
    client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = QdrantServerStore(ServerNodes(_settings(upsert_batch_size=4), client), COLLECTION)
    await store.create(SPACE)
    sizes = []
    upsert = client.upsert

    async def watched_upsert(name: str, points: list[models.PointStruct], *, wait: bool) -> Any:
        assert wait
        sizes.append(len(points))
        return await upsert(name, points, wait=wait)

    monkeypatch.setattr(client, "upsert", watched_upsert)
    await store.upsert(make_points(10))
    assert sizes == [4, 4, 2]
