from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from aff_shared.web.health_check import all_ready


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class _ServerOnIpv6(HTTPServer):
    address_family = socket.AF_INET6


@contextmanager
def _service(host: str) -> Iterator[int]:
    server_class = _ServerOnIpv6 if ":" in host else HTTPServer
    with server_class((host, 0), _Ready) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    ("host", "variable"),
    [
        ("127.0.0.1", None),
        ("127.0.0.1", ""),
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.2", "127.0.0.2"),
        ("127.0.0.1", "localhost"),
        ("::1", "::1"),
        ("::1", "[::1]"),
        ("::1", "::"),
        ("::1", "[::]"),
    ],
)
def test_the_request_goes_to_the_address_that_the_service_listens_on(host: str, variable: str | None) -> None:
    with _service(host) as port:
        environment = {"AFF_QUERY_PORT": str(port)} | ({} if variable is None else {"AFF_QUERY_HOST": variable})
        assert all_ready(["AFF_QUERY_PORT"], environment)


def test_a_service_that_does_not_listen_is_not_ready(capsys: pytest.CaptureFixture[str]) -> None:
    with _service("127.0.0.1") as port:
        environment = {"A_PORT": str(port), "A_HOST": "127.0.0.2"}
        assert not all_ready(["A_PORT"], environment)
    assert f"127.0.0.2 does not answer on port {port}" in capsys.readouterr().err
