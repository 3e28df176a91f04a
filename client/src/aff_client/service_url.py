"""The address of a service, as a person gives it."""

from __future__ import annotations

import httpx

from aff_shared.errors import AffError
from aff_shared.schemas.http_url import NEEDED, checked_http_url


class ServiceUrlError(AffError):
    """What was given as the address of a service is no URL of one."""

    code = "service_url_invalid"
    status = 422
    title = "Not the URL of a service"


def service_url(given: str) -> httpx.URL:
    """Return the address of a service.

    Args:
        given: Such as `http://127.0.0.1:8001`, or below a path, `https://shop.example/photos`.

    Raises:
        ServiceUrlError: It is none.
    """
    try:
        url = httpx.URL(checked_http_url(given))
        assert url.host, "an international name is decoded now, and not in the middle of an error"
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ServiceUrlError(NEEDED, item=given) from error
    except ValueError as error:
        raise ServiceUrlError(str(error), item=given) from error
    return url
