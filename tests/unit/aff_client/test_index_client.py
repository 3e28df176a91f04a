"""The clients with the real services."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from aff_client import AsyncSearchClient, SearchClient, ServiceError, ServiceUnreachableError
from aff_client.index_client import IndexerClient, Upload
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_toolkit.data.scenes import render_view
from aff_toolkit.local.local_service import LocalServices
from tests.support.images import png_bytes
from tests.support.tiny_bundle import TinyBundle

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def indexer(services: LocalServices) -> Iterator[IndexerClient]:
    with IndexerClient(services.indexer_url) as client:
        yield client


@pytest.fixture(scope="module")
def searcher(services: LocalServices) -> Iterator[SearchClient]:
    with SearchClient(services.query_url) as client:
        yield client


def upload(item: str, landmark: int, **payload: object) -> Upload:
    return Upload(item, f"{item}.png", png_bytes(render_view(landmark, 0, size=(96, 96))), payload)


def test_receipts_have_the_order_of_the_uploads(indexer: IndexerClient) -> None:
    broken = Upload("client/broken", "broken.png", b"no image")
    answer = indexer.index([upload("client/1", 1), broken, upload("client/2", 2)])
    assert [receipt.id for receipt in answer.receipts] == ["client/1", "client/broken", "client/2"]
    assert [receipt.status for receipt in answer.receipts] == ["indexed", "rejected", "indexed"]
    assert answer.receipts[1].name == "broken.png"


def test_what_was_indexed_is_found_with_its_payload(indexer: IndexerClient, searcher: SearchClient) -> None:
    indexer.index([upload("client/3", 3, place="client-quay"), upload("client/4", 4, place="client-hill")])
    only = json.dumps({"must": [{"key": "place", "match": "client-quay"}]})
    answer = searcher.search(upload("", 3).data, limit=5, filter=only, score_threshold=None)
    assert [(hit.id, hit.payload) for hit in answer.hits] == [("client/3", {"place": "client-quay"})]


def test_the_gallery_reports_its_state(indexer: IndexerClient, tiny_bundle: TinyBundle) -> None:
    before = indexer.gallery()
    indexer.index([upload("client/5", 5)])
    assert indexer.gallery().count == before.count + 1
    assert before.fingerprint == tiny_bundle.manifest.fingerprint


def test_a_rejected_request_carries_the_problem_of_the_service(searcher: SearchClient) -> None:
    with pytest.raises(ServiceError) as caught:
        searcher.search(b"no image", name="letter.jpg")
    assert caught.value.problem.status in {415, 422}
    assert caught.value.item == "letter.jpg"
    assert caught.value.problem.code in caught.value.detail


def test_a_ready_service_is_not_waited_for(searcher: SearchClient) -> None:
    searcher.wait_until_ready(0.0)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nothing listens: the port stays bound, so it is not used by anything else."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def test_where_nothing_listens_the_address_is_named(nobody: str) -> None:
    with IndexerClient(nobody) as client, pytest.raises(ServiceUnreachableError, match="aff serve") as caught:
        client.gallery()
    assert caught.value.item == nobody


def test_waiting_ends_after_its_time(nobody: str) -> None:
    with SearchClient(nobody) as client, pytest.raises(ServiceUnreachableError):
        client.wait_until_ready(0.2)


def test_waiting_ends_with_the_process(nobody: str) -> None:
    with SearchClient(nobody) as client, pytest.raises(ServiceUnreachableError):
        client.wait_until_ready(600.0, ended=lambda: 1)


class _Stranger(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


def test_a_foreign_response_is_distinguished_from_a_rejection() -> None:
    with HTTPServer(("127.0.0.1", 0), _Stranger) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with (
            IndexerClient(f"http://127.0.0.1:{server.server_port}") as client,
            pytest.raises(ServiceUnreachableError, match="answers 404"),
        ):
            client.gallery()
        server.shutdown()


def test_every_search_of_the_service_has_its_method(indexer: IndexerClient, searcher: SearchClient) -> None:
    indexer.index([upload(f"client/6 {view}", 6 + view, place=f"client-{view}") for view in range(3)])
    only = {"must": [{"key": "place", "any_of": ["client-0", "client-1", "client-2"]}]}
    red = searcher.search(upload("", 6).data, filter=only, with_embedding=True, expand=1)
    assert {hit.id for hit in red.hits} == {f"client/6 {view}" for view in range(3)}
    assert red.embedding is not None
    described = searcher.encoder()
    again = searcher.search_embedding(red.embedding, described.fingerprint, filter=PayloadFilter.model_validate(only))
    assert {hit.id for hit in again.hits} == {hit.id for hit in red.hits}
    similar = searcher.search_similar("client/6 0", filter=json.dumps(only), group_by="place")
    assert {hit.id for hit in similar.hits} == {"client/6 1", "client/6 2"}
    batch = searcher.search_batch([("six", upload("", 6).data), ("bad", b"no image")], filter=only, limit=1)
    assert batch.results[0].result is not None
    assert batch.results[0].result.hits == searcher.search(upload("", 6).data, filter=only, limit=1).hits
    assert batch.results[1].error is not None
    assert batch.results[1].error.code == "image_unsupported"
    assert len(searcher.encoder_model(described.files[0])) == described.files[0].size_bytes
    assert searcher.image("client/6 0").payload == {"place": "client-0"}
    with pytest.raises(ServiceError):
        searcher.image("client/nobody")


async def test_the_client_for_an_event_loop_returns_the_same(services: LocalServices, searcher: SearchClient) -> None:
    data = upload("", 1).data
    async with AsyncSearchClient(services.query_url) as client:
        answers = await asyncio.gather(*(client.search(data, limit=3) for _ in range(4)))
        assert [answer.hits for answer in answers] == [searcher.search(data, limit=3).hits] * 4
        assert await client.encoder() == searcher.encoder()
        with pytest.raises(ServiceError) as caught:
            await client.search_similar("client/nobody")
        assert caught.value.problem.code == "image_not_found"
    async with AsyncSearchClient("http://127.0.0.1:1") as client:
        with pytest.raises(ServiceUnreachableError):
            await client.encoder()
