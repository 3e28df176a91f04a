"""Gets images by URL without becoming a way into the operator's own network."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urljoin, urlsplit

import httpx

from aff_contracts.errors import ImageSourceRefusedError, ImageTooManyBytesError, ImageUnreachableError

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_PORTS = {"http": 80, "https": 443}
_SHOWN_CHARACTERS = 100
_EXPLANATIONS = {
    401: ": it wants credentials",
    403: ": it refuses access, or the URL's signature is wrong or has expired",
}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class UrlImages:
    """Gets the body of a URL, when scheme, host and every address of the host are allowed.

    A host is resolved once for each request, and the connection goes to the address that was checked: a name server
    that answers otherwise a moment later changes nothing. Redirects are followed by hand, each checked anew. Proxies of
    the environment are not used.

    Args:
        schemes: Allowed schemes.
        hosts: Allowed hosts, `.example.org` for all below; none for any.
        timeout_s: Longest time for one image.
        max_redirects: Most redirects.
        max_bytes: Largest body.
        resolve: Gives the addresses of a host and port.
        is_allowed: Says whether an address may be connected to.
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
    ) -> None:
        self._schemes = frozenset(schemes)
        self._hosts = tuple(host.lower() for host in hosts)
        self._timeout_s = timeout_s
        self._max_redirects = max_redirects
        self._max_bytes = max_bytes
        self._resolve = resolve or _resolve
        self._is_allowed = is_allowed or is_public
        self._http = httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=timeout_s)

    async def get(self, url: str) -> bytes:
        """Return the body.

        Raises:
            ImageSourceRefusedError: The URL, or one that it redirects to, is not allowed.
            ImageTooManyBytesError: The body is too large.
            ImageUnreachableError: There is no such host or page, or it took too long.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in range(self._max_redirects + 1):
                    body, location = await self._request(url)
                    if location is None:
                        return body
                    url = urljoin(url, location)
        except TimeoutError as error:
            raise ImageUnreachableError(f"not there within {self._timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise ImageUnreachableError(f"cannot be fetched: {error or type(error).__name__}") from error
        raise ImageUnreachableError(f"more than {self._max_redirects} redirects")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _request(self, url: str) -> tuple[bytes, str | None]:
        """Return a body, or where a redirect leads."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
        self._require_allowed(parts.scheme, host)
        address = await self._checked_address(host, port)
        there = httpx.URL(url)  # leaves what is percent-encoded as it is: a signature may cover it
        request = self._http.build_request(
            "GET",
            there.copy_with(host=address, username="", password=""),
            headers={"Host": there.netloc.decode()},
            extensions={"sni_hostname": there.raw_host.decode()},
        )
        response = await self._http.send(request, stream=True)
        try:
            if response.is_redirect:
                return b"", response.headers["location"]
            if not response.is_success:
                raise ImageUnreachableError(_refusal(response))
            return await self._body(response), None
        finally:
            await response.aclose()

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > self._max_bytes:
                raise ImageTooManyBytesError(f"more than {self._max_bytes} bytes")
        return bytes(body)

    def _require_allowed(self, scheme: str, host: str) -> None:
        if scheme not in self._schemes:
            raise ImageSourceRefusedError(f"the scheme {scheme!r} is not allowed")
        allowed = not self._hosts or any(
            host == name or (name.startswith(".") and host.endswith(name)) for name in self._hosts
        )
        if not host or not allowed:
            raise ImageSourceRefusedError(f"the host {host!r} is not allowed")

    async def _checked_address(self, host: str, port: int) -> str:
        """Resolve a host; every address has to be allowed, or one could be chosen that is not."""
        addresses = await self._resolve(host, port)
        if not addresses:
            raise ImageUnreachableError(f"the host {host!r} has no address")
        for address in addresses:
            if not self._is_allowed(address):
                raise ImageSourceRefusedError(f"the host {host!r} has an address that is not public")
        return addresses[0]


def _refusal(response: httpx.Response) -> str:
    wait = response.headers.get("retry-after")
    asks = f" and asks to wait (Retry-After: {wait[:_SHOWN_CHARACTERS]})" if wait else ""
    explanation = _EXPLANATIONS.get(response.status_code, "")
    return (
        f"the host answers {response.status_code} {response.reason_phrase[:_SHOWN_CHARACTERS]}".rstrip()
        + asks
        + explanation
    )


def is_public(address: str) -> bool:
    """Say whether an address belongs to the public internet, also where it carries another one in itself."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return all(one.is_global and not one.is_multicast for one in [parsed, *_carried(parsed)])


def _carried(address: _Address) -> list[_Address]:
    """Return the IPv4 addresses within an IPv6 one: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[_Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
