"""The clients with foreign responses, lost connections and wrong addresses."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from aff_client import (
    AsyncIndexerClient,
    AsyncSearchClient,
    BusyError,
    ForeignAnswerError,
    IndexerClient,
    SearchClient,
    ServiceUnreachableError,
    ServiceUrlError,
    Upload,
)
from aff_client.answers import key_header
from aff_client.index_calls import delete
from aff_client.service_client import Call
from aff_shared.errors import KeyInvalidError

pytestmark = pytest.mark.anyio

IMAGE = json.dumps(
    {"id": "red", "content_sha256": "0" * 64, "width": 9, "height": 9, "indexed_at": "2026-01-01T00:00Z", "payload": {}}
)


def answer(status: HTTPStatus, content_type: str, body: str, **headers: str) -> bytes:
    """Return a response as it is sent."""
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", f"Content-Type: {content_type}", "Server: nginx/1.22.1"]
    lines += [f"Content-Length: {len(body)}", *(f"{name.replace('_', '-')}: {it}" for name, it in headers.items())]
    return ("\r\n".join(lines) + f"\r\n\r\n{body}").encode()


GOOD = answer(HTTPStatus.OK, "application/json", IMAGE)


@contextmanager
def answering(*connections: list[bytes | None]) -> Iterator[tuple[str, list[int]]]:
    """A server that sends each connection its responses, one per request; None closes the connection without one.

    Yields:
        Its URL, and the number of requests of each connection so far.
    """
    requests: list[int] = []

    def serve() -> None:
        for answers in connections:
            try:
                connection, _ = listening.accept()
            except OSError:  # the test ended without this connection
                return
            requests.append(0)
            with connection:
                for one in answers:
                    if not connection.recv(65_536):
                        break
                    requests[-1] += 1
                    if one is None:
                        break
                    connection.sendall(one)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", requests


class TestForeignAnswers:
    @pytest.mark.parametrize(
        ("status", "content_type", "body"),
        [
            (HTTPStatus.OK, "text/html", "<html>Welcome to nginx!</html>"),
            (HTTPStatus.OK, "text/plain", "hello"),
            (HTTPStatus.OK, "application/json", "{}"),
            (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "text/html", "<html>413</html>"),
            (HTTPStatus.BAD_GATEWAY, "text/html", ""),
            (HTTPStatus.GATEWAY_TIMEOUT, "application/json", '{"message": "slow"}'),
        ],
    )
    def test_they_are_reported_by_their_kind(self, status: HTTPStatus, content_type: str, body: str) -> None:
        with (
            answering([answer(status, content_type, body)]) as (url, _),
            SearchClient(url) as client,
            pytest.raises(ForeignAnswerError) as caught,
        ):
            client.image("red")
        assert caught.value.item == url
        assert f"answers {status.value} {status.phrase}" in str(caught.value)
        assert f"({content_type} from nginx/1.22.1)" in str(caught.value)
        assert (caught.value.problem.status, caught.value.problem.code) == (status, "foreign_answer")

    def test_a_page_is_no_thumbnail(self) -> None:
        page = answer(HTTPStatus.OK, "text/html; charset=utf-8", "<html>Log in</html>")
        with answering([page]) as (url, _), SearchClient(url) as client, pytest.raises(ForeignAnswerError):
            client.thumbnail("red")

    def test_a_redirect_is_reported_with_its_target(self) -> None:
        moved = answer(HTTPStatus.MOVED_PERMANENTLY, "text/html", "", Location="https://shop.example/photos/")
        with (
            answering([moved]) as (url, _),
            SearchClient(url) as client,
            pytest.raises(ForeignAnswerError, match=re.escape("https://shop.example/photos/")),
        ):
            client.image("red")

    @pytest.mark.parametrize(
        ("retry_after", "least", "most"),
        [
            ("7", 7, 7),
            pytest.param(
                format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True), 80_000, 86_400, id="tomorrow"
            ),
            ("Tue, 01 Dec 2020 00:00:00 GMT", 0, 0),
            ("soon", 0, 0),
            (None, 0, 0),
        ],
    )
    def test_retry_after_is_preserved(self, retry_after: str | None, least: float, most: float) -> None:
        headers = {} if retry_after is None else {"Retry_After": retry_after}
        away = answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/html", "", **headers)
        with answering([away]) as (url, _), SearchClient(url) as client, pytest.raises(ForeignAnswerError) as caught:
            client.image("red")
        assert least <= caught.value.retry_after_s <= most


class TestConnectionsThatEnd:
    def test_a_safe_request_is_repeated_if_its_connection_was_closed(self) -> None:
        with answering([GOOD, None], [GOOD]) as (url, requests), SearchClient(url) as client:
            assert client.image("red").id == "red"
            assert client.image("red").id == "red"
        assert requests == [2, 1]

    async def test_so_it_does_on_an_event_loop(self) -> None:
        with answering([GOOD, None], [GOOD]) as (url, requests):
            async with AsyncSearchClient(url) as client:
                assert [(await client.image("red")).id for _ in range(2)] == ["red", "red"]
        assert requests == [2, 1]

    def test_it_does_not_go_a_third_time(self) -> None:
        with (
            answering([None], [None], [GOOD]) as (url, requests),
            SearchClient(url) as client,
            pytest.raises(ServiceUnreachableError, match="no answer"),
        ):
            client.image("red")
        assert requests == [1, 1]

    def test_a_request_that_changes_something_is_sent_once(self) -> None:
        with (
            answering([None], [GOOD]) as (url, requests),
            SearchClient(url) as client,
            pytest.raises(ServiceUnreachableError),
        ):
            client._send(Call("POST", "/gallery/backups", bytes, {"json": {}}, safe=False))
        assert requests == [1]

    @pytest.mark.parametrize("selection", [{"all": True}, {"filter": {"must": []}}])
    def test_a_deletion_without_ids_is_sent_once(self, selection: dict[str, object]) -> None:
        with (
            answering([None], [GOOD]) as (url, requests),
            IndexerClient(url, retry_s=5.0) as client,
            pytest.raises(ServiceUnreachableError),
        ):
            client._send(delete(selection))
        assert requests == [1]


@contextmanager
def answering_posts(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that reads the whole body of each request, and sends the responses in their order.

    Yields:
        Its URL, and the bodies so far.
    """
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.wfile.write(answers[len(bodies) - 1])

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()


class TestReceipts:
    BUSY = answer(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "application/problem+json",
        json.dumps({"type": "", "title": "", "status": 503, "detail": "starting", "code": "service_not_ready"}),
    )
    RECEIPTS = answer(
        HTTPStatus.OK,
        "application/x-ndjson",
        '{"receipt": {"index": 0, "id": "a", "name": null, "status": "indexed"}}\n'
        '{"summary": {"indexed": 1, "updated": 0, "duplicate": 0, "rejected": 0}}\n',
    )
    UPLOADS = (Upload("a", "a.png", b"image"),)

    def test_images_that_a_busy_service_rejected_are_sent_again(self) -> None:
        with (
            answering_posts(self.BUSY, self.RECEIPTS) as (url, bodies),
            IndexerClient(url, retry_s=5.0) as client,
        ):
            assert [receipt.id for receipt in client.receipts(self.UPLOADS)] == ["a"]
        assert len(bodies) == 2

    async def test_so_they_are_on_an_event_loop(self) -> None:
        with answering_posts(self.BUSY, self.RECEIPTS) as (url, bodies):
            async with AsyncIndexerClient(url, retry_s=5.0) as client:
                assert [receipt.id async for receipt in client.receipts(self.UPLOADS)] == ["a"]
        assert len(bodies) == 2

    def test_without_a_time_for_retries_the_rejection_is_raised(self) -> None:
        with answering_posts(self.BUSY) as (url, _), IndexerClient(url) as client, pytest.raises(BusyError):
            list(client.receipts(self.UPLOADS))

    def test_a_page_in_their_place_is_not_of_the_service(self) -> None:
        page = answer(HTTPStatus.OK, "text/html; charset=utf-8", "<html>Log in</html>")
        with answering_posts(page) as (url, _), IndexerClient(url) as client, pytest.raises(ForeignAnswerError):
            list(client.receipts(self.UPLOADS))


class TestKeys:
    @pytest.mark.parametrize("key", ["ключ", "clé", "two\nlines", "rubout\x7f"])
    def test_a_key_that_no_header_can_hold_is_named_and_not_shown(
        self, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AFF_API_KEY", key)
        for given, item in ((None, "AFF_API_KEY"), (key, "key")):
            for client in (SearchClient, AsyncSearchClient):
                with pytest.raises(KeyInvalidError) as caught:
                    client("http://127.0.0.1:8001", key=given)
                assert caught.value.item == item
                assert key not in str(caught.value)

    def test_blanks_and_line_breaks_around_a_key_do_not_belong_to_it(self) -> None:
        assert key_header(" abc-123\r\n") == {"Authorization": "Bearer abc-123"}


class TestAddresses:
    @pytest.mark.parametrize(
        "given",
        [
            *(
                "http://[::1",
                "http://",
                "localhost:8001",
                "127.0.0.1",
                "",
                "ftp://x",
                "http://:80",
                "http:/x",
                "//h:80",
            ),
            *("http://h h", "http://h:x", "http://xn--", "http://h\0st"),
        ],
    )
    @pytest.mark.parametrize("client", [SearchClient, AsyncSearchClient])
    def test_what_is_no_url_is_rejected_by_a_sentence(self, client: Callable[[str], object], given: str) -> None:
        with pytest.raises(ServiceUrlError, match="a URL is required, such as http://") as caught:
            client(given)
        assert caught.value.item == given

    @pytest.mark.parametrize("port", [0, 65_536, 99_999])
    def test_a_port_out_of_range_is_reported_as_such(self, port: int) -> None:
        with pytest.raises(ServiceUrlError, match="a port is a number from 1 to 65535"):
            SearchClient(f"http://127.0.0.1:{port}")

    @pytest.mark.parametrize(
        ("address", "tried"),
        [
            ("http://127.0.0.1:1", "127.0.0.1:1"),
            ("http://[::1]:1/photos", "[::1]:1"),
            (" http://127.0.0.1:1/ ", "127.0.0.1:1"),
        ],
    )
    def test_an_unreachable_service_is_reported_with_host_and_port(self, address: str, tried: str) -> None:
        with SearchClient(address) as client, pytest.raises(ServiceUnreachableError) as caught:
            client.encoder()
        assert f"no answer from {tried} (" in str(caught.value)

    def test_a_port_that_was_not_given_is_named_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def nobody(*_: object, **__: object) -> None:
            raise OSError("refused")

        monkeypatch.setattr(socket, "create_connection", nobody)
        for scheme, port in (("http", 80), ("https", 443)):
            with SearchClient(f"{scheme}://127.0.0.1") as client, pytest.raises(ServiceUnreachableError) as caught:
                client.encoder()
            assert f"no answer from 127.0.0.1:{port} (" in str(caught.value)

    def test_a_service_below_a_path_is_called_there(self) -> None:
        heads: list[bytes] = []

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                heads.append(connection.recv(65_536))
                connection.sendall(GOOD)

        with socket.create_server(("127.0.0.1", 0)) as listening:
            Thread(target=serve, daemon=True).start()
            with SearchClient(f"http://127.0.0.1:{listening.getsockname()[1]}/photos/") as client:
                client.image("a b/c")
        assert heads[0].startswith(b"GET /photos/images")
