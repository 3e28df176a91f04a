"""Connections to the public internet only, and not into the operator's network."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence

import httpcore

from aff_shared.errors import ImageSourceRefusedError, ImageUnreachableError

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
