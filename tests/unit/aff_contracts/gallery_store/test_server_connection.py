from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import pytest
from pydantic import SecretStr, ValidationError

from aff_contracts.errors import StoreUnavailableError
from aff_contracts.gallery_store.server_connection import client_arguments
from aff_contracts.gallery_store.settings import StoreSettings


def test_address_key_and_transport_are_the_settings() -> None:
    settings = StoreSettings(
        url="https://qdrant.example:7443",
        api_key=SecretStr("a key"),
        grpc_port=7444,
        prefer_grpc=False,
        timeout_s=2.5,
    )
    assert client_arguments(settings) == {
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
    arguments = client_arguments(StoreSettings(url="https://qdrant.example", ca_cert_path=authority))
    assert isinstance(arguments["verify"], ssl.SSLContext)
    assert arguments["verify"].get_ca_certs()
    assert arguments["verify"].verify_mode is ssl.CERT_REQUIRED
    assert arguments["grpc_options"] == {"root_certificates": authority.read_bytes()}


@pytest.mark.parametrize("content", [None, b"no certificate", b"\xff\xfe"])
def test_an_authority_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    authority = tmp_path / "ca.pem"
    if content is not None:
        authority.write_bytes(content)
    with pytest.raises(StoreUnavailableError, match=r"ca\.pem"):
        client_arguments(StoreSettings(url="https://qdrant.example", ca_cert_path=authority))


def test_the_key_may_lie_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "api-key"
    path.write_text("a key\n")
    assert client_arguments(StoreSettings(url="http://qdrant:6333", api_key_file=path))["api_key"] == "a key"
    given = StoreSettings(url="http://qdrant:6333", api_key=SecretStr("another"), api_key_file=path)
    assert client_arguments(given)["api_key"] == "another"
    with pytest.raises(StoreUnavailableError, match="nowhere"):
        client_arguments(StoreSettings(url="http://qdrant:6333", api_key_file=tmp_path / "nowhere"))


@pytest.mark.parametrize("url", ["http://[::1", "http://", "ftp://qdrant", "http://qdrant:x", "http://q drant:6333"])
def test_an_address_that_is_none_is_refused_by_a_sentence(url: str) -> None:
    with pytest.raises(ValidationError, match="a URL is needed, such as http://"):
        StoreSettings(url=url)


def test_a_port_out_of_range_is_refused_as_that() -> None:
    with pytest.raises(ValidationError, match="a port is a number from 1 to 65535"):
        StoreSettings(url="http://qdrant:99999")


@pytest.mark.parametrize(
    ("given", "url"),
    [("qdrant:6333", "http://qdrant:6333"), (" https://qdrant.example/db ", "https://qdrant.example/db"), (" ", "")],
)
def test_an_address_may_lack_its_scheme(given: str, url: str) -> None:
    assert StoreSettings(url=given).url == url
