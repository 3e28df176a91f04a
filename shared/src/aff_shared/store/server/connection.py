"""Arguments of Qdrant's client for one address of a server, from the settings."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import socket
import ssl
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from aff_shared.errors import StoreUnavailableError
from aff_shared.store.settings import StoreSettings, path_of

_REST_PORTS = {"http": 6333, "https": 443}
_PROXIES = {"all", "grpc", "http", "https"}
# A node that was unavailable is found again within seconds: gRPC's pauses grow to two minutes, and a connection whose
# other end vanished silently would be kept for a quarter of an hour.
_CHANNEL = {
    "grpc.initial_reconnect_backoff_ms": 250,
    "grpc.min_reconnect_backoff_ms": 2_000,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 5_000,
}


async def addresses_of(url: str) -> list[str]:
    """Return the IP addresses that a server's name stands for now, those of version 4 first: Qdrant listens there.

    The name itself is returned where a proxy of the environment stands between, which has to look it up.

    Raises:
        OSError: The name stands for none, or cannot be looked up.
    """
    host = urlsplit(url).hostname or ""
    if _is_ip(host) or (_PROXIES & getproxies().keys() and not proxy_bypass(host)):
        return [host]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a part of it is empty, or longer than 63 characters
        raise OSError(str(error)) from error
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def client_arguments(settings: StoreSettings, url: str, address: str) -> dict[str, Any]:
    """Return the arguments of `AsyncQdrantClient`; a client made with them leaves the network alone.

    So the client's own version check is off: it calls the server from a thread while the client is made.

    Args:
        settings: Settings of the store.
        url: The server's address as the settings name it.
        address: One that its name stands for; the certificate is that of the name.

    Raises:
        StoreUnavailableError: The key's file or the authority's certificate cannot be read.
    """
    parts = urlsplit(url)
    certificates = _certificates(settings)
    verify = True if certificates is None else _ssl_context(settings, certificates)
    arguments: dict[str, Any] = {
        "url": _at(parts, address),
        "api_key": _key(settings),
        "grpc_port": settings.grpc_port,
        "prefer_grpc": settings.over_grpc,
        "timeout": math.ceil(settings.timeout_s),
        "check_compatibility": False,
        "grpc_options": dict(_CHANNEL),
    }
    if certificates is not None:
        arguments["grpc_options"]["root_certificates"] = certificates
        arguments["verify"] = verify
    if address != parts.hostname:
        arguments["transport"] = _TransportByName(parts, verify)
        arguments["grpc_options"] |= _by_name(parts, settings.grpc_port)
    return arguments


def shows_key(arguments: dict[str, Any], address: str) -> bool:
    """Return whether a client's key can be read on a public network.

    Args:
        arguments: Arguments of the client.
        address: An IP address, or a name; one without a dot is that of a network of containers.
    """
    if arguments["api_key"] is None or urlsplit(arguments["url"]).scheme == "https":
        return False
    return ipaddress.ip_address(address).is_global if _is_ip(address) else "." in address


def place_of(settings: StoreSettings, url: str, address: str, *, over_rest: bool) -> str:
    """Return the name, port, path and address of a node, for messages."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port, path = (_rest_port(parts), path_of(url)) if over_rest else (settings.grpc_port, "")
    place = f"{_bracketed(host)}:{port}{path}"
    return place if address == host else f"{place} ({address})"


class _TransportByName(httpx.AsyncHTTPTransport):
    """Sends requests that go to an address under the server's name, and takes the name's certificate alone."""

    def __init__(self, parts: SplitResult, verify: ssl.SSLContext | bool) -> None:
        super().__init__(verify=verify)
        self._parts = parts

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx."""
        request.headers["Host"] = self._parts.netloc.rpartition("@")[2]
        request.extensions = {**request.extensions, "sni_hostname": self._parts.hostname}
        return await super().handle_async_request(request)


def _by_name(parts: SplitResult, grpc_port: int) -> dict[str, Any]:
    """Return the options of a channel to an address that stand for the server's name."""
    host = parts.hostname or ""
    authority = {"grpc.default_authority": f"{host}:{grpc_port}", "grpc.enable_http_proxy": 0}
    return authority | ({"grpc.ssl_target_name_override": host} if parts.scheme == "https" else {})


def _at(parts: SplitResult, address: str) -> str:
    return parts._replace(netloc=f"{_bracketed(address)}:{_rest_port(parts)}").geturl()


def _rest_port(parts: SplitResult) -> int:
    """Return the port of a server's address: without one, Qdrant's over HTTP, and that of the web over HTTPS."""
    return parts.port or _REST_PORTS.get(parts.scheme, 6333)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _certificates(settings: StoreSettings) -> bytes | None:
    if settings.ca_cert_path is None:
        return None
    try:
        return settings.ca_cert_path.read_bytes()
    except OSError as error:
        raise StoreUnavailableError(f"cannot use {settings.ca_cert_path}: {error}") from error


def _ssl_context(settings: StoreSettings, certificates: bytes) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=certificates.decode())
    except (OSError, ValueError) as error:
        raise StoreUnavailableError(f"cannot use {settings.ca_cert_path}: {error}") from error


def _key(settings: StoreSettings) -> str | None:
    if settings.api_key is not None:
        return settings.api_key.get_secret_value() or None
    if settings.api_key_file is None:
        return None
    try:
        return settings.api_key_file.read_text().strip() or None
    except (OSError, ValueError) as error:
        raise StoreUnavailableError(f"cannot read {settings.api_key_file}: {error}") from error
