"""Connections to the public internet alone, and not into the operator's own network."""

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
    """Connects to a host where every address of it is allowed; one could be chosen otherwise that is not.

    The connection goes to the address that was checked: a name server that answers otherwise a moment later changes
    nothing. The name stays that of the host, for which the certificate has to be.

    Args:
        resolve: Returns the addresses of a host and port; None asks the system.
        is_allowed: Says whether an address may be connected to; None allows public ones.
    """

    def __init__(self, resolve: Resolve | None = None, is_allowed: Callable[[str], bool] | None = None) -> None:
        self._resolve = resolve or _resolve
        self._is_allowed = is_allowed or is_public

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as httpcore has it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect.

        Raises:
            ImageSourceRefusedError: The host has an address that is not allowed.
            ImageUnreachableError: It has none.
        """
        addresses = await self._resolve(host, port)
        if not addresses:
            raise ImageUnreachableError(f"the host {host!r} has no address")
        if not all(map(self._is_allowed, addresses)):
            raise ImageSourceRefusedError(f"the host {host!r} has an address that is not public")
        return await super().connect_tcp(addresses[0], port, timeout, local_address, socket_options)


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
