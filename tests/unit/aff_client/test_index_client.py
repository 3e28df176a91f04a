"""The clients with the real services."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from aff_client import (
    AsyncIndexerClient,
    AsyncSearchClient,
    NotFoundError,
    SearchClient,
    ServiceError,
    ServiceUnreachableError,
    png_of,
)
from aff_client.index_calls import batches
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


def test_receipts_arrive_one_by_one_and_name_rejected_images(indexer: IndexerClient) -> None:
    broken = Upload("client/broken", "broken.png", b"no image")
    receipts = list(indexer.receipts([upload("client/10", 10), broken, upload("client/11", 11)]))
    assert {receipt.id: receipt.status for receipt in receipts} == {
        "client/10": "indexed",
        "client/broken": "rejected",
        "client/11": "indexed",
    }


def test_a_folder_is_indexed_with_relative_ids_and_hidden_files_left_out(
    indexer: IndexerClient, tmp_path: Path
) -> None:
    for name in ("a/1.png", "a/.2.png", ".b/3.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png_bytes(render_view(12, 0, size=(96, 96))))
    assert [receipt.id for receipt in indexer.index_files(tmp_path, payload={"of": "client"})] == ["a/1.png"]
    assert indexer.image("a/1.png").payload["of"] == "client"
    assert [receipt.status for receipt in indexer.index_files(tmp_path, payload={"of": "client"})] == ["duplicate"]
    assert indexer.delete(["a/1.png"]) == 1


def test_a_folder_that_is_indexed_again_keeps_edited_payloads(indexer: IndexerClient, tmp_path: Path) -> None:
    (tmp_path / "client-edited.png").write_bytes(png_bytes(render_view(17, 0, size=(96, 96))))
    list(indexer.index_files(tmp_path))
    indexer.change("client-edited.png", {"city": "Paris"})
    assert [receipt.status for receipt in indexer.index_files(tmp_path)] == ["duplicate"]
    assert indexer.image("client-edited.png").payload["city"] == "Paris"


def test_batches_are_limited_by_images_and_by_bytes() -> None:
    small, large = Upload("small", "", b"1"), Upload("large", "", bytes(20 * 2**20))
    assert [len(batch) for batch in batches([small] * 70)] == [32, 32, 6]
    assert [len(batch) for batch in batches([large, small, large, large])] == [2, 1, 1]
    assert list(batches([])) == []


def test_pixels_are_indexed_without_loss(indexer: IndexerClient, searcher: SearchClient) -> None:
    pixels = render_view(13, 0, size=(96, 96))
    indexer.index([Upload.of_pixels("client/pixels", pixels, {"kind": "array"})])
    best = searcher.search(png_of(pixels), filter={"must": [{"key": "kind", "match": "array"}]}).hits[0]
    assert best.id == "client/pixels"
    with pytest.raises(ValueError, match="uint8"):
        png_of(pixels[:, :, 0])


def test_payloads_are_merged_and_replaced_and_images_deleted(indexer: IndexerClient) -> None:
    indexer.index([upload("client/14", 14, kind="changed", year=1)])
    assert indexer.change("client/14", {"year": None, "city": "Paris"}).payload == {"kind": "changed", "city": "Paris"}
    assert indexer.replace("client/14", {"kind": "replaced"}).payload == {"kind": "replaced"}
    assert indexer.delete_matching({"must": [{"key": "kind", "match": "replaced"}]}) == 1
    with pytest.raises(NotFoundError) as caught:
        indexer.image("client/14")
    assert caught.value.problem.code == "image_not_found"


def test_pages_of_the_gallery_hold_every_image_once(indexer: IndexerClient, searcher: SearchClient) -> None:
    indexer.index([upload(f"client/page-{number}", 15, kind="page", number=number) for number in range(5)])
    found, cursor = [], None
    while True:
        page = searcher.images(
            limit=2, order="oldest", filter={"must": [{"key": "kind", "match": "page"}]}, cursor=cursor
        )
        found += [image.id for image in page.images]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(found) == [f"client/page-{number}" for number in range(5)]
    assert page.total == 5


async def test_the_asynchronous_client_indexes_and_deletes(services: LocalServices) -> None:
    async with AsyncIndexerClient(services.indexer_url) as client:
        receipts = [receipt async for receipt in client.receipts([upload("client/async", 16)])]
        assert [receipt.status for receipt in receipts] == ["indexed"]
        assert (await client.image("client/async")).id == "client/async"
        assert await client.delete(["client/async", "client/none"]) == 1
        assert (await client.gallery()).store
