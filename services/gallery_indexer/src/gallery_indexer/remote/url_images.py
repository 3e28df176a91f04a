"""Fetches images by URL, but not from the operator's network."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from urllib.parse import urljoin

import httpcore
import httpx

from aff_shared.errors import ImageSourceRefusedError, ImageTooManyBytesError, ImageUnreachableError

_HEADERS = (("User-Agent", "aff-gallery-indexer"), ("Accept", "*/*"), ("Accept-Encoding", "identity"))
_MAX_CONNECTIONS = 100
_MAX_IDLE_CONNECTIONS = 20
_IDLE_S = 5.0
_LAST_PORT = 65_535
_ERRORS = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    httpx.InvalidURL,
    OSError,
    ValueError,
)
_SHOWN_CHARACTERS = 100
_EXPLANATIONS = {
    401: ": it requires credentials",
    403: ": access is denied, or the URL's signature is wrong or has expired",
}


class UrlImages:
    """Fetches the body of a URL whose scheme, host and host addresses are allowed.

    A connection is used for one scheme, host name and port, with a checked address and certificate. Cookies are not
    stored. Each redirect is checked like the URL. Proxies of the environment are not used.

    Args:
        schemes: Allowed schemes.
        hosts: Allowed hosts, `.example.org` for all subdomains; empty for any host.
        timeout_s: Longest time for one image, in seconds.
        max_redirects: Largest number of redirects.
        max_bytes: Largest body.
        resolve: See PublicNetwork.
        is_allowed: See PublicNetwork.
        ssl_context: Trusted certificates; None for those of public authorities.
    """

    def __init__(
        self,
        *,
        schemes: Sequence[str],
        hosts: Sequence[str],
        timeout_s: float,
        max_redirects: int,
        max_bytes: int,
        resolve: Resolve | None = None,
        is_allowed: Callable[[str], bool] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._schemes = frozenset(schemes)
        self._hosts = tuple(host.lower() for host in hosts)
        self._timeout_s = timeout_s
        self._max_redirects = max_redirects
        self._max_bytes = max_bytes
        self._connections = httpcore.AsyncConnectionPool(
            ssl_context or httpx.create_ssl_context(trust_env=False),
            max_connections=_MAX_CONNECTIONS,
            max_keepalive_connections=_MAX_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE_S,
            network_backend=PublicNetwork(resolve, is_allowed),
        )

    async def get(self, url: str) -> bytes:
        """Return the body.

        Raises:
            ImageSourceRefusedError: The URL or a redirect is not allowed.
            ImageTooManyBytesError: The body is too large.
            ImageUnreachableError: There is no such host or page, or the timeout was exceeded.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in range(self._max_redirects + 1):
                    body, location = await self._request(url)
                    if location is None:
                        return body
                    url = urljoin(url, location)
        except TimeoutError as error:
            raise ImageUnreachableError(f"not received within {self._timeout_s:g} s") from error
        except _ERRORS as error:
            raise ImageUnreachableError(f"cannot be fetched: {error or type(error).__name__}") from error
        raise ImageUnreachableError(f"more than {self._max_redirects} redirects")

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.aclose()

    async def _request(self, url: str) -> tuple[bytes, str | None]:
        """Return the body, or the target of a redirect."""
        parsed = httpx.URL(url)  # does not change percent-encoding, which a signature may cover
        self._require_allowed(parsed)
        if parsed.port is not None and not 0 < parsed.port <= _LAST_PORT:
            raise httpx.InvalidURL(f"there is no port {parsed.port}")
        target = httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
        headers = [("Host", parsed.netloc.decode()), *_HEADERS]
        async with self._connections.stream("GET", target, headers=headers) as answer:
            head = httpx.Response(answer.status, headers=answer.headers, extensions=answer.extensions)
            if head.has_redirect_location:
                return b"", head.headers["location"]
            if not head.is_success:
                raise ImageUnreachableError(_failure(head))
            return await self._body(answer.aiter_stream()), None

    async def _body(self, parts: AsyncIterable[bytes]) -> bytes:
        body = bytearray()
        async for part in parts:
            body += part
            if len(body) > self._max_bytes:
                raise ImageTooManyBytesError(f"more than {self._max_bytes} bytes")
        return bytes(body)

    def _require_allowed(self, url: httpx.URL) -> None:
        if url.scheme not in self._schemes:
            raise ImageSourceRefusedError(f"the scheme {url.scheme!r} is not allowed")
        spellings = {url.host, url.raw_host.decode()}  # Unicode and punycode
        allowed = not self._hosts or any(
            host == name or (name.startswith(".") and host.endswith(name)) for name in self._hosts for host in spellings
        )
        if not url.host or not allowed:
            raise ImageSourceRefusedError(f"the host {url.host!r} is not allowed")


def _failure(response: httpx.Response) -> str:
    wait = response.headers.get("retry-after")
    retry = f" with Retry-After: {wait[:_SHOWN_CHARACTERS]}" if wait else ""
    explanation = _EXPLANATIONS.get(response.status_code, "")
    return (
        f"the host answers {response.status_code} {response.reason_phrase[:_SHOWN_CHARACTERS]}".rstrip()
        + retry
        + explanation
    )


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PublicNetwork(httpcore.AnyIOBackend):
    """Connects to a host if all its addresses are allowed.

    The connection is made to an address that was checked, so a later answer of the name server has no effect. The
    certificate is checked against the host's name.

    Args:
        resolve: Returns the addresses of a host and port; None uses the system's resolver.
        is_allowed: Returns whether an address may be connected to; None allows public ones.
    """

    def __init__(self, resolve: Resolve | None = None, is_allowed: Callable[[str], bool] | None = None) -> None:
        self._resolve = resolve or _resolve
        self._is_allowed = is_allowed or is_public

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect.

        Raises:
            ImageSourceRefusedError: An address of the host is not allowed.
            ImageUnreachableError: The host has no address.
        """
        addresses = await self._resolve(host, port)
        if not addresses:
            raise ImageUnreachableError(f"the host {host!r} has no address")
        if not all(map(self._is_allowed, addresses)):
            raise ImageSourceRefusedError(f"the host {host!r} has an address that is not public")
        return await super().connect_tcp(addresses[0], port, timeout, local_address, socket_options)


def is_public(address: str) -> bool:
    """Return whether an address, and every address embedded in it, is part of the public internet."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return all(one.is_global and not one.is_multicast for one in [parsed, *_embedded(parsed)])


def _embedded(address: _Address) -> list[_Address]:
    """Return the IPv4 addresses within an IPv6 address: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[_Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
