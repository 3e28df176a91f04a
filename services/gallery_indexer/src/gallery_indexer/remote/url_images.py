"""Gets images by URL without becoming a way into the operator's own network."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, Callable, Sequence
from urllib.parse import urljoin

import httpcore
import httpx

from aff_shared.errors import ImageSourceRefusedError, ImageTooManyBytesError, ImageUnreachableError
from gallery_indexer.remote.public_network import PublicNetwork, Resolve

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
    401: ": it wants credentials",
    403: ": it refuses access, or the URL's signature is wrong or has expired",
}


class UrlImages:
    """Gets the body of a URL, when scheme, host and every address of the host are allowed.

    A connection serves one scheme, host name and port; its address was checked, and its certificate is that of the
    host. No cookies are kept. Redirects are followed by hand, each checked anew. Proxies of the environment are not
    used.

    Args:
        schemes: Allowed schemes.
        hosts: Allowed hosts, `.example.org` for all below; none for any.
        timeout_s: Longest time for one image.
        max_redirects: Most redirects.
        max_bytes: Largest body.
        resolve: As for PublicNetwork.
        is_allowed: As for PublicNetwork.
        ssl_context: Which certificates are trusted; None for those of public authorities.
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
        except _ERRORS as error:
            raise ImageUnreachableError(f"cannot be fetched: {error or type(error).__name__}") from error
        raise ImageUnreachableError(f"more than {self._max_redirects} redirects")

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.aclose()

    async def _request(self, url: str) -> tuple[bytes, str | None]:
        """Return a body, or where a redirect leads."""
        there = httpx.URL(url)  # leaves what is percent-encoded as it is: a signature may cover it
        self._require_allowed(there)
        if there.port is not None and not 0 < there.port <= _LAST_PORT:
            raise httpx.InvalidURL(f"there is no port {there.port}")
        place = httpcore.URL(scheme=there.raw_scheme, host=there.raw_host, port=there.port, target=there.raw_path)
        headers = [("Host", there.netloc.decode()), *_HEADERS]
        async with self._connections.stream("GET", place, headers=headers) as answer:
            head = httpx.Response(answer.status, headers=answer.headers, extensions=answer.extensions)
            if head.has_redirect_location:
                return b"", head.headers["location"]
            if not head.is_success:
                raise ImageUnreachableError(_refusal(head))
            return await self._body(answer.aiter_stream()), None

    async def _body(self, parts: AsyncIterable[bytes]) -> bytes:
        body = bytearray()
        async for part in parts:
            body += part
            if len(body) > self._max_bytes:
                raise ImageTooManyBytesError(f"more than {self._max_bytes} bytes")
        return bytes(body)

    def _require_allowed(self, there: httpx.URL) -> None:
        if there.scheme not in self._schemes:
            raise ImageSourceRefusedError(f"the scheme {there.scheme!r} is not allowed")
        spellings = {there.host, there.raw_host.decode()}  # of a name in other letters
        allowed = not self._hosts or any(
            host == name or (name.startswith(".") and host.endswith(name)) for name in self._hosts for host in spellings
        )
        if not there.host or not allowed:
            raise ImageSourceRefusedError(f"the host {there.host!r} is not allowed")


def _refusal(response: httpx.Response) -> str:
    wait = response.headers.get("retry-after")
    asks = f" and asks to wait (Retry-After: {wait[:_SHOWN_CHARACTERS]})" if wait else ""
    explanation = _EXPLANATIONS.get(response.status_code, "")
    return (
        f"the host answers {response.status_code} {response.reason_phrase[:_SHOWN_CHARACTERS]}".rstrip()
        + asks
        + explanation
    )
