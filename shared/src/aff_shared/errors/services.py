"""Errors of a service: access, limits and its start."""

from __future__ import annotations

from typing import ClassVar

from aff_shared.errors.base import AffError
from aff_shared.errors.requests import RequestError


class KeyMissingError(RequestError):
    """The service requires a key, and the request has none."""

    code = "key_missing"
    status = 401
    title = "Key missing"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class KeyInvalidError(RequestError):
    """The key of the request is unknown."""

    code = "key_invalid"
    status = 401
    title = "Invalid key"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class ScopeMissingError(RequestError):
    """The key of the request lacks the required scope."""

    code = "scope_missing"
    status = 403
    title = "Scope missing"


class OriginRefusedError(RequestError):
    """A cross-origin request that the settings do not allow."""

    code = "origin_refused"
    status = 403
    title = "Origin rejected"


class HostRefusedError(RequestError):
    """The request names a host that a service without keys does not accept."""

    code = "host_refused"
    status = 421
    title = "Host rejected"


class RateLimitedError(RequestError):
    """The key has made more requests than its limit allows.

    Attributes:
        headers: Headers of the response: `Retry-After`, the seconds until one more request is allowed.
    """

    code = "rate_limited"
    status = 429
    title = "Rate limited"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after_s)}


class MissingExtraError(AffError):
    """A network needs a package that is installed only on demand."""

    code = "extra_missing"
    title = "Optional package missing"


class AccessSettingsError(AffError):
    """A service would be reachable from other machines without keys, or its keys are unusable."""

    code = "access_open"
    title = "Unusable access settings"


class ListenError(AffError):
    """A service cannot listen on its address."""

    code = "listen_failed"
    title = "Cannot listen"


class ServiceNotReadyError(AffError):
    """The service is starting, or a required component is missing."""

    code = "service_not_ready"
    status = 503
    title = "Service not ready"


class ServiceOverloadedError(AffError):
    """The service is at its limits.

    Attributes:
        headers: Headers of the response: `Retry-After`, the seconds after which a retry is likely to succeed.
    """

    code = "service_overloaded"
    status = 429
    title = "Service overloaded"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after_s)}


class ConnectionLimitError(ServiceOverloadedError):
    """The service has reached its limit of open connections."""

    code = "connection_limit"
    status = 503
    title = "Too many connections"
