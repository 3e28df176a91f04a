"""Images, lists and shards by http, from a real server on this machine."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aff_toolkit.indexing.remote_files import Refusal, sendable
from aff_toolkit.indexing.source_item import SourceError
from aff_toolkit.indexing.sources import SourceKind, source_items


@dataclass
class _Web:
    """Files of the server, and the requests to it.

    Attributes:
        address: As in `http://127.0.0.1:8000`.
        files: Content by the request's target, which is compared byte for byte.
        rejections: Statuses with which the next requests are answered, and their Retry-After.
        requested: Targets of all GET requests.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    rejections: list[tuple[int, str]] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)


@pytest.fixture
def web() -> Iterator[_Web]:
    state = _Web()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if self.command == "GET":
                state.requested.append(self.path)
            status, retry_after = state.rejections.pop(0) if state.rejections else (200, "")
            data = state.files.get(self.path, b"")
            if status == 200 and self.path.startswith("/to/"):
                status = 302
                self.send_response(status)
                self.send_header("Location", self.path.removeprefix("/to"))
            else:
                self.send_response(404 if status == 200 and not data else status)
            if retry_after:
                self.send_header("Retry-After", retry_after)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("aff_toolkit.indexing.remote_files.time.sleep", waited.append)
    return waited


def _list_of(folder: Path, *urls: str) -> str:
    (folder / "list.csv").write_text("url\n" + "".join(f'"{url}"\n' for url in urls))
    return str(folder / "list.csv")


@pytest.mark.parametrize(
    "target",
    [
        "/a%2Fb%20c%7E.jpg?X-Amz-Credential=AK%2F2024&X-Amz-Signature=a%2Bb%3D+%2f%3a",
        "/IMG%5B1%5D(2)'!*;=:@,$.jpg?next=/a/b?c:d@e",
        "/K%C3%B6ln.jpg",
    ],
)
def test_a_url_is_sent_byte_for_byte_also_after_a_redirect(tmp_path: Path, web: _Web, target: str) -> None:
    web.files[target] = b"image"
    urls = [f"{web.address}{target}", f"{web.address}/to{target}"]
    items = list(source_items(_list_of(tmp_path, *urls)))
    assert [item.id for item in items] == urls
    assert [item.read() for item in items] == [b"image", b"image"]
    assert web.requested == [target, f"/to{target}", target]


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://h.example/Köln am Rhein.jpg?q=ü", "https://h.example/K%C3%B6ln%20am%20Rhein.jpg?q=%C3%BC"),
        ("https://h.example/100%.jpg", "https://h.example/100%25.jpg"),
        ("https://h.example/100%25.jpg", "https://h.example/100%25.jpg"),
        ("https://bücher.example:8443/a.jpg", "https://xn--bcher-kva.example:8443/a.jpg"),
        ("https://user:p%40ss@h.example/a.jpg?", "https://user:p%40ss@h.example/a.jpg?"),
    ],
)
def test_what_is_not_allowed_in_a_url_is_encoded(url: str, sent: str) -> None:
    assert sendable(url) == sent


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "the host answers 401 Unauthorized: it requires credentials"),
        (403, "the host answers 403 Forbidden: it denies access, or the URL's signature is wrong or has expired"),
        (404, "the host answers 404 Not Found"),
        (410, "the host answers 410 Gone"),
    ],
)
def test_a_host_that_rejects_permanently_is_requested_once(
    tmp_path: Path, web: _Web, pauses: list[float], status: int, words: str
) -> None:
    web.rejections = [(status, "")] * 3
    (item,) = source_items(_list_of(tmp_path, f"{web.address}/a.jpg"))
    with pytest.raises(SourceError) as caught:
        item.read()
    assert caught.value.detail == words
    assert (web.requested, pauses) == (["/a.jpg"], [])


@pytest.mark.parametrize("status", [429, 503])
def test_a_host_that_requests_a_wait_is_retried_after_that_time(
    tmp_path: Path, web: _Web, pauses: list[float], status: int
) -> None:
    web.files["/a.jpg"] = b"image"
    web.rejections = [(status, "7")]
    (item,) = source_items(_list_of(tmp_path, f"{web.address}/a.jpg"))
    assert item.read() == b"image"
    assert (web.requested, pauses) == (["/a.jpg", "/a.jpg"], [7.0])


def test_a_host_that_requests_a_wait_for_an_hour_is_reported_at_once(
    tmp_path: Path, web: _Web, pauses: list[float]
) -> None:
    web.rejections = [(429, "3600")]
    (item,) = source_items(_list_of(tmp_path, f"{web.address}/a.jpg"))
    with pytest.raises(SourceError, match="429 Too Many Requests and requests a wait of 3600 s"):
        item.read()
    assert (len(web.requested), pauses) == (1, [])


def test_the_time_to_wait_may_be_a_date() -> None:
    class _AnswerError(Exception):
        status = 503
        headers = {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)}  # noqa: RUF012

    refusal = Refusal.of(_AnswerError())
    assert refusal is not None
    assert 25 < refusal.retry_after_s <= 30


def test_paths_of_a_list_on_the_web_are_file_names_next_to_it_and_urls_are_urls(web: _Web) -> None:
    web.files = {
        "/photos/list.csv?sig=a%2Fb": b"id,path,url\n1,a#1 100%.jpg,\n2,,a%20b.jpg\n3,,/c.jpg\n",
        "/photos/a%231%20100%25.jpg": b"one",
        "/photos/a%20b.jpg": b"two",
        "/c.jpg": b"three",
    }
    items = source_items(f"{web.address}/photos/list.csv?sig=a%2Fb")
    assert {item.id: item.read() for item in items} == {"1": b"one", "2": b"two", "3": b"three"}


def test_a_signed_shard_is_a_shard_and_no_pattern(web: _Web) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    web.files["/shard.tar?sig=[1]*%2F"] = stream.getvalue()
    assert [item.id for item in source_items(f"{web.address}/shard.tar?sig=[1]*%2F")] == ["a.jpg"]


@pytest.mark.parametrize("name", ["shard.tar", "list.csv"])
def test_a_list_or_shard_that_the_host_rejects_is_reported_by_its_answer(
    web: _Web, pauses: list[float], name: str
) -> None:
    web.rejections = [(403, "")] * 4
    with pytest.raises(SourceError, match="the host answers 403 Forbidden"):
        list(source_items(f"{web.address}/{name}"))
    assert pauses == []


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("LIST.CSV", SourceKind.MANIFEST),
        ("list.Tsv", SourceKind.MANIFEST),
        ("TABLE.PARQUET", SourceKind.MANIFEST),
        ("https://h.example/list.csv?sig=x.tar", SourceKind.MANIFEST),
        ("SHARD.TAR", SourceKind.TAR),
        ("shard.TGZ", SourceKind.TAR),
        ("shard-{00..09}.Tar.Gz", SourceKind.TAR),
        ("https://h.example/a.jpg?list=.csv", SourceKind.FILES),
        ("what?.csv.d", SourceKind.FILES),
    ],
)
def test_what_a_source_is_shows_its_suffix_in_any_case(location: str, kind: SourceKind) -> None:
    assert SourceKind.of(location) is kind
