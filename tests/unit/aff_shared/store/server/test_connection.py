from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import certifi
import pytest
from pydantic import SecretStr, ValidationError

from aff_shared.errors import StoreUnavailableError
from aff_shared.store.server.connection import client_arguments, place_of, shows_key
from aff_shared.store.settings import StoreSettings


def _arguments(settings: StoreSettings) -> dict[str, Any]:
    return client_arguments(settings, settings.url, "192.0.2.7")


def test_address_key_and_transport_are_the_settings() -> None:
    settings = StoreSettings(
        url="https://qdrant.example:7443",
        api_key=SecretStr("a key"),
        grpc_port=7444,
        prefer_grpc=False,
        timeout_s=2.5,
    )
    arguments = client_arguments(settings, settings.url, "qdrant.example")
    assert set(arguments.pop("grpc_options")) == {
        "grpc.initial_reconnect_backoff_ms",
        "grpc.min_reconnect_backoff_ms",
        "grpc.max_reconnect_backoff_ms",
        "grpc.keepalive_time_ms",
        "grpc.keepalive_timeout_ms",
    }
    assert arguments == {
        "url": "https://qdrant.example:7443",
        "api_key": "a key",
        "grpc_port": 7444,
        "prefer_grpc": False,
        "timeout": 3,
        "check_compatibility": False,
    }


def test_an_authority_is_trusted_over_rest_and_over_grpc(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_bytes(Path(certifi.where()).read_bytes())
    arguments = _arguments(StoreSettings(url="https://qdrant.example", ca_cert_path=authority))
    assert isinstance(arguments["verify"], ssl.SSLContext)
    assert arguments["verify"].get_ca_certs()
    assert arguments["verify"].verify_mode is ssl.CERT_REQUIRED
    assert arguments["grpc_options"]["root_certificates"] == authority.read_bytes()


@pytest.mark.parametrize("content", [None, b"no certificate", b"\xff\xfe"])
def test_an_authority_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    authority = tmp_path / "ca.pem"
    if content is not None:
        authority.write_bytes(content)
    with pytest.raises(StoreUnavailableError, match=r"ca\.pem"):
        _arguments(StoreSettings(url="https://qdrant.example", ca_cert_path=authority))


def test_the_key_may_lie_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "api-key"
    path.write_text("a key\n")
    assert _arguments(StoreSettings(url="http://qdrant:6333", api_key_file=path))["api_key"] == "a key"
    given = StoreSettings(url="http://qdrant:6333", api_key=SecretStr("another"), api_key_file=path)
    assert _arguments(given)["api_key"] == "another"
    with pytest.raises(StoreUnavailableError, match="nowhere"):
        _arguments(StoreSettings(url="http://qdrant:6333", api_key_file=tmp_path / "nowhere"))


def test_an_address_of_a_name_is_called_by_the_name() -> None:
    arguments = _arguments(StoreSettings(url="https://qdrant.example:7443/db", grpc_port=7444))
    assert arguments["url"] == "https://192.0.2.7:7443/db"
    options = arguments["grpc_options"]
    assert options["grpc.ssl_target_name_override"] == "qdrant.example"
    assert options["grpc.default_authority"] == "qdrant.example:7444"
    at_v6 = client_arguments(StoreSettings(), "http://qdrant", "2001:db8::7")
    assert at_v6["url"] == "http://[2001:db8::7]:6333"
    assert "grpc.ssl_target_name_override" not in at_v6["grpc_options"]


@pytest.mark.parametrize(
    ("url", "called", "over_grpc"),
    [
        ("http://qdrant", "http://192.0.2.7:6333", True),
        ("http://qdrant:7333/", "http://192.0.2.7:7333/", True),
        ("https://qdrant.example:6333", "https://192.0.2.7:6333", True),
        ("https://qdrant.example", "https://192.0.2.7:443", False),
        ("https://qdrant.example/db/", "https://192.0.2.7:443/db/", False),
        ("http://qdrant.example/db", "http://192.0.2.7:6333/db", False),
    ],
)
def test_the_port_and_the_protocol_are_those_of_the_address(url: str, called: str, over_grpc: bool) -> None:
    arguments = _arguments(StoreSettings(url=url))
    assert (arguments["url"], arguments["prefer_grpc"]) == (called, over_grpc)


def test_the_protocol_may_be_set() -> None:
    assert _arguments(StoreSettings(url="https://qdrant.example", prefer_grpc=True))["prefer_grpc"]
    assert not _arguments(StoreSettings(url="http://qdrant:6333", prefer_grpc=False))["prefer_grpc"]


def test_grpc_below_a_path_is_rejected_with_the_alternatives() -> None:
    with pytest.raises(ValidationError, match=r"not support the path of QDRANT_URL=https://q\.example/db: leave out"):
        StoreSettings(url="https://node:6333,https://q.example/db", prefer_grpc=True)


def test_messages_name_the_port_and_the_path() -> None:
    settings = StoreSettings(url="https://qdrant.example/db/")
    assert place_of(settings, settings.url, "192.0.2.7", over_rest=True) == "qdrant.example:443/db (192.0.2.7)"


@pytest.mark.parametrize("url", ["http://[::1", "http://", "ftp://qdrant", "http://qdrant:x", "http://q drant:6333"])
def test_an_invalid_address_is_rejected_with_one_line(url: str) -> None:
    with pytest.raises(ValidationError, match="a URL is required, such as http://"):
        StoreSettings(url=url)


def test_a_port_out_of_range_is_rejected_as_that() -> None:
    with pytest.raises(ValidationError, match="a port is a number from 1 to 65535"):
        StoreSettings(url="http://qdrant:99999")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("qdrant:6333", "http://qdrant:6333"),
        (" https://qdrant.example/db ", "https://qdrant.example/db"),
        ("node-1:6333, http://node-2:6333,", "http://node-1:6333,http://node-2:6333"),
        (" ", ""),
    ],
)
def test_an_address_may_lack_its_scheme(given: str, url: str) -> None:
    assert StoreSettings(url=given).url == url


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("http://qdrant:6333", "qdrant", False),
        ("http://localhost:6333", "127.0.0.1", False),
        ("http://qdrant:6333", "172.18.0.2", False),
        ("http://qdrant.gallery.svc:6333", "10.96.0.17", False),
        ("http://qdrant.example:6333", "fd00::17", False),
        ("http://qdrant.example:6333", "8.8.8.8", True),
        ("http://qdrant.example:6333", "2606:4700::1111", True),
        ("http://qdrant.example:6333", "qdrant.example", True),
        ("https://qdrant.example:6333", "8.8.8.8", False),
    ],
)
def test_a_key_over_http_is_shown_to_a_public_network_alone(url: str, address: str, shown: bool) -> None:
    settings = StoreSettings(url=url, api_key=SecretStr("a key"))
    assert shows_key(client_arguments(settings, url, address), address) is shown
    assert not shows_key(client_arguments(StoreSettings(url=url), url, address), address)
