"""Images by URL, from a real HTTP server on this machine, which the tests' resolver makes public."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import trustme

from aff_shared.errors import AffError, ImageSourceRefusedError, ImageTooManyBytesError, ImageUnreachableError
from gallery_indexer.remote.url_images import UrlImages, is_public

pytestmark = pytest.mark.anyio

PUBLIC = "127.0.0.1"  # address of the tests' server; is_public rejects it, like every address of this machine


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class _Handler(BaseHTTPRequestHandler):
    seen: list[tuple[str, str]] = []  # noqa: RUF012 - replaced for each server

    def do_GET(self) -> None:
        self.seen.append((self.headers["Host"], self.path))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path.startswith("/status/"):
            self.send_response(int(self.path.removeprefix("/status/")))
            self.send_header("Retry-After", "120")
            self.end_headers()
        elif self.path == "/slow":
            threading.Event().wait(3)
        else:
            body = b"x" * 1000 if self.path == "/large" else b"image"
            self.send_response(200)
            if self.path != "/large":  # which has no Content-Length
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:  # the client rejects the certificate
        pass


@contextmanager
def _server(
    handler: type[_Handler] = _Handler, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    seen: list[tuple[str, str]] = []
    server = _Server(("127.0.0.1", 0), type("Handler", (handler,), {"seen": seen}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _names(**names: Sequence[str]) -> Callable[[str, int], Any]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return names.get(host.replace(".", "_"), ())

    return resolve


@asynccontextmanager
async def _images(**changes: Any) -> AsyncIterator[UrlImages]:
    arguments: dict[str, Any] = {
        "schemes": ["http"],
        "hosts": [],
        "timeout_s": 5.0,
        "max_redirects": 2,
        "max_bytes": 100,
        "resolve": _names(photos_example=[PUBLIC], inside_example=["10.0.0.7"], both_example=[PUBLIC, "10.0.0.7"]),
        "is_allowed": lambda address: address == PUBLIC or is_public(address),
    }
    images = UrlImages(**{**arguments, **changes})
    try:
        yield images
    finally:
        await images.close()


async def test_an_image_is_fetched_from_the_checked_address_with_the_hosts_name() -> None:
    with _server() as (port, seen):
        async with _images() as images:
            assert await images.get(f"http://user:secret@photos.example:{port}/a.jpg?x=1") == b"image"
    assert seen == [(f"photos.example:{port}", "/a.jpg?x=1")]


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("https://photos.example/a.jpg", ImageSourceRefusedError),
        ("ftp://photos.example/a.jpg", ImageSourceRefusedError),
        ("file:///etc/passwd", ImageSourceRefusedError),
        ("http://inside.example/a.jpg", ImageSourceRefusedError),
        ("http://both.example/a.jpg", ImageSourceRefusedError),
        ("http://nobody.example/a.jpg", ImageUnreachableError),
        ("http:///a.jpg", ImageSourceRefusedError),
        ("http://photos.example:99999/", ImageUnreachableError),
        ("//photos.example/", ImageSourceRefusedError),
        ("no url", ImageSourceRefusedError),
    ],
)
async def test_a_url_that_is_not_allowed_is_rejected(url: str, error: type[AffError]) -> None:
    async with _images() as images:
        with pytest.raises(error):
            await images.get(url)


async def test_hosts_may_be_limited() -> None:
    names = _names(photos_example=[PUBLIC], a_b_example=[PUBLIC], evilphotos_example=[PUBLIC])
    with _server() as (port, _):
        async with _images(hosts=["photos.example", ".b.example"], resolve=names) as images:
            for host in ("photos.example", "PHOTOS.example", "a.b.example"):
                assert await images.get(f"http://{host}:{port}/") == b"image"
            for host in ("evilphotos.example", "b.example"):
                with pytest.raises(ImageSourceRefusedError):
                    await images.get(f"http://{host}:{port}/")


async def test_each_redirect_is_checked() -> None:
    with _server() as (port, seen):
        async with _images() as images:
            assert await images.get(f"http://photos.example:{port}/to//a.jpg") == b"image"
            with pytest.raises(ImageSourceRefusedError):
                await images.get(f"http://photos.example:{port}/to/http://inside.example/secret")
            with pytest.raises(ImageSourceRefusedError):
                await images.get(f"http://photos.example:{port}/to/file:///etc/passwd")
            with pytest.raises(ImageUnreachableError, match="redirects"):
                await images.get(f"http://photos.example:{port}/to//to//to//a.jpg")
    assert all("secret" not in path or path.startswith("/to/") for _, path in seen)


async def test_a_second_answer_of_the_name_server_has_no_effect() -> None:
    answers = [[PUBLIC], ["10.0.0.7"]]

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    with _server() as (port, seen):
        async with _images(resolve=rebinding) as images:
            assert await images.get(f"http://photos.example:{port}/a.jpg") == b"image"
            with pytest.raises(ImageSourceRefusedError):
                await images.get(f"http://photos.example:{port}/a.jpg")
    assert len(seen) == 1


class _PersistentHandler(_Handler):
    """Keeps connections open, sets cookies, and records the connection and the cookie of each request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.seen.append((str(self.client_address), self.headers["Cookie"] or ""))
        self.send_response(200)
        self.send_header("Set-Cookie", "session=secret; Path=/")
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"image")


_TWO_NAMES = _names(photos_example=[PUBLIC], other_example=[PUBLIC])


async def test_a_connection_is_used_for_one_host_name_and_cookies_are_not_stored() -> None:
    with _server(_PersistentHandler) as (port, seen):
        async with _images(resolve=_TWO_NAMES) as images:
            for host in ("photos.example", "photos.example", "other.example"):
                assert await images.get(f"http://{host}:{port}/a.jpg") == b"image"
    (first, again, other), cookies = zip(*seen, strict=True)
    assert first == again != other
    assert cookies == ("", "", "")


async def test_the_certificate_of_each_host_name_is_checked_also_at_one_address() -> None:
    authority, served, trusted = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("photos.example").configure_cert(served)
    authority.configure_trust(trusted)
    with _server(_PersistentHandler, served) as (port, seen):
        async with _images(resolve=_TWO_NAMES, schemes=["https"], ssl_context=trusted) as images:
            assert await images.get(f"https://photos.example:{port}/a.jpg") == b"image"
            with pytest.raises(ImageUnreachableError, match=r"certificate is not valid for 'other\.example'"):
                await images.get(f"https://other.example:{port}/a.jpg")
            assert await images.get(f"https://photos.example:{port}/a.jpg") == b"image"
    assert len(seen) == 2


async def test_an_untrusted_authority_is_rejected() -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("photos.example").configure_cert(served)
    with _server(_PersistentHandler, served) as (port, seen):
        async with _images(schemes=["https"]) as images:
            with pytest.raises(ImageUnreachableError, match="certificate verify failed"):
                await images.get(f"https://photos.example:{port}/a.jpg")
    assert not seen


async def test_a_body_over_the_limit_is_abandoned() -> None:
    with _server() as (port, _):
        async with _images() as images:
            with pytest.raises(ImageTooManyBytesError):
                await images.get(f"http://photos.example:{port}/large")


@pytest.mark.parametrize(
    "path",
    [
        "/a%2Fb%20c%7E.jpg?sig=a%2Bb%2F+c%3D%3d&x=%2f",
        "/a(1)'!*,;=:@.jpg?next=/a/b?c:d@e",
        "/K%C3%B6ln.jpg",
    ],
)
async def test_what_is_percent_encoded_is_sent_byte_for_byte_also_after_a_redirect(path: str) -> None:
    with _server() as (port, seen):
        async with _images() as images:
            assert await images.get(f"http://photos.example:{port}{path}") == b"image"
            assert await images.get(f"http://photos.example:{port}/to/{path}") == b"image"
    assert [requested for _, requested in seen] == [path, f"/to/{path}", path]


async def test_a_host_and_a_path_in_other_letters_are_encoded() -> None:
    names = _names(**{"xn--bcher-kva_example": [PUBLIC]})
    with _server() as (port, seen):
        async with _images(resolve=names) as images:
            assert await images.get(f"http://bücher.example:{port}/Köln am%20Rhein.jpg") == b"image"
    assert seen == [(f"xn--bcher-kva.example:{port}", "/K%C3%B6ln%20am%20Rhein.jpg")]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("status/401", "401 Unauthorized .*: it requires credentials"),
        ("status/403", "403 Forbidden .*: access is denied, or the URL's signature is wrong or has expired"),
        ("status/404", "404 Not Found"),
        ("status/429", r"429 Too Many Requests with Retry-After: 120"),
        ("slow", "within 0.2 s"),
    ],
)
async def test_the_error_of_a_missing_or_slow_page_has_the_reason(path: str, words: str) -> None:
    with _server() as (port, _):
        async with _images(timeout_s=0.2) as images:
            with pytest.raises(ImageUnreachableError, match=words):
                await images.get(f"http://photos.example:{port}/{path}")


async def test_an_address_without_a_server_is_unreachable() -> None:
    async with _images() as images:
        with pytest.raises(ImageUnreachableError):
            await asyncio.wait_for(images.get("http://photos.example:9/"), 10)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "2002:0a00:0001::",
        "64:ff9b::10.0.0.1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::8.8.8.8"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)
