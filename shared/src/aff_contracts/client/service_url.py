"""The address of a service, as a person gives it."""

from __future__ import annotations

import httpx

from aff_contracts.errors import AffError

_LARGEST_PORT = 65_535


class ServiceUrlError(AffError):
    """What was given as the address of a service is no URL of one."""

    code = "service_url_invalid"
    title = "Not the URL of a service"


def service_url(given: str) -> httpx.URL:
    """Return the address of a service.

    Args:
        given: Such as `http://127.0.0.1:8001`, or below a path, `https://shop.example/photos`.

    Raises:
        ServiceUrlError: It is none.
    """
    try:
        url = httpx.URL(given.strip())
        host, port = url.host, url.port
    except (httpx.InvalidURL, ValueError) as error:
        raise _error(given) from error
    if url.scheme not in {"http", "https"} or not host or "%20" in host:
        raise _error(given)
    if port is not None and not 1 <= port <= _LARGEST_PORT:
        raise ServiceUrlError(f"a port is a number from 1 to {_LARGEST_PORT}", item=given)
    return url


def _error(given: str) -> ServiceUrlError:
    return ServiceUrlError("a URL is needed, such as http://127.0.0.1:8001 or https://shop.example/photos", item=given)
