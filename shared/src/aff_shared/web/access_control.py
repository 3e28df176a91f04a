"""Access control by keys, scopes, origins, hosts and rate limits."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections.abc import Callable
from ipaddress import ip_address

from starlette.requests import HTTPConnection

from aff_shared.errors import (
    HostRefusedError,
    KeyInvalidError,
    KeyMissingError,
    OriginRefusedError,
    RateLimitedError,
    ScopeMissingError,
)
from aff_shared.web.settings import AccessKey, AccessSettings, Scope, normal_origin

KEY_COOKIE = "aff_key"
"""Cookie in which the web page stores the key: requests of <img> elements cannot have headers."""


class AccessControl:
    """The keys of a service.

    Args:
        settings: Access settings.
        host: Address that the service listens on.

    Raises:
        AccessSettingsError: The service would be reachable from other machines without keys or anonymous scopes;
            or the keys cannot be read.
    """

    def __init__(self, settings: AccessSettings, host: str) -> None:
        self._keys = settings.all_keys()
        self._limits = {
            key.name: RateLimit(key.requests_per_minute) for key in self._keys if key.requests_per_minute is not None
        }
        self._anonymous = settings.scopes_without_key(self._keys, host)
        self._settings = settings

    def require(self, connection: HTTPConnection, scope: Scope) -> str | None:
        """Return the name of the key's holder, None without a key.

        Raises:
            KeyMissingError: There is no key, and the scope requires one.
            KeyInvalidError: The key is unknown.
            ScopeMissingError: The key lacks the scope.
            RateLimitedError: The key has made more requests than its limit allows.
            OriginRefusedError: A cross-origin request that is not allowed.
            HostRefusedError: The request names a host that the service does not accept.
        """
        self._require_origin(connection)
        presented = _presented_key(connection)
        if presented is None:
            if scope not in self._anonymous:
                raise KeyMissingError(
                    f"send a key for {scope.value!r} as the header Authorization: Bearer KEY; "
                    "aff and the Python clients take it from AFF_API_KEY"
                )
            self._require_host(connection)
            return None
        key = self._find(presented)
        if scope not in {*key.scopes, *self._anonymous}:
            raise ScopeMissingError(f"the key {key.name!r} is not for {scope.value!r}")
        if key.name in self._limits:
            self._limits[key.name].take()
        return key.name

    def _find(self, presented: str) -> AccessKey:
        # Every key is compared, so that the time does not reveal whether one matched.
        digest = hashlib.sha256(presented.encode()).hexdigest()
        found = [key for key in self._keys if hmac.compare_digest(key.sha256, digest)]
        if not found:
            raise KeyInvalidError("the key is unknown")
        return found[0]

    def _require_origin(self, connection: HTTPConnection) -> None:
        """Reject cross-origin requests: they would be sent with the user's cookie."""
        given = connection.headers.get("origin")
        if given is None:
            return
        origin, host = normal_origin(given), connection.headers.get("host", "")
        if origin in self._settings.cors_origins or origin == normal_origin(f"{given.partition('://')[0]}://{host}"):
            return
        raise OriginRefusedError(
            f"its pages may not call this service at {host!r}: configure the proxy to preserve the header Host, "
            "or add the origin to AFF_ACCESS_CORS_ORIGINS",
            item=given,
        )

    def _require_host(self, connection: HTTPConnection) -> None:
        host = connection.headers.get("host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if "." in name and name not in self._settings.allowed_hosts and not _is_address(name):
            raise HostRefusedError(
                "a service without keys does not accept this host: add it to AFF_ACCESS_ALLOWED_HOSTS", item=name
            )


def _presented_key(connection: HTTPConnection) -> str | None:
    kind, _, key = connection.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and key.strip():
        return key.strip()
    return connection.cookies.get(KEY_COOKIE) or None


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


class RateLimit:
    """A token bucket: a minute's worth of requests may arrive at once, and it refills evenly.

    Args:
        per_minute: Maximum number of requests per minute.
        clock: Monotonic clock, in seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._left = float(per_minute)
        self._seen = clock()

    def take(self) -> None:
        """Take one request.

        Raises:
            RateLimitedError: The bucket is empty; `Retry-After` is the time until the next request is allowed.
        """
        now, per_s = self._clock(), self._per_minute / 60
        self._left = min(self._per_minute, self._left + per_s * (now - self._seen))
        self._seen = now
        if self._left < 1:
            wait_s = math.ceil((1 - self._left) / per_s)
            raise RateLimitedError(f"the key's limit is {self._per_minute} requests a minute", retry_after_s=wait_s)
        self._left -= 1
