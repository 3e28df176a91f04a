"""The address of a server, as a person gives it."""

from __future__ import annotations

from urllib.parse import urlsplit

NEEDED = "a URL is needed, such as http://127.0.0.1:8001 or https://shop.example/photos"
_PORTS = "a port is a number from 1 to 65535"


def checked_http_url(given: str) -> str:
    """Return the URL of a server, without the blanks around it.

    Raises:
        ValueError: It is none; says what is needed.
    """
    url = given.strip()
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:  # brackets that do not close, a port that is none
        out_of_range = str(error).startswith("Port out of range")
        raise ValueError(_PORTS if out_of_range else NEEDED) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or any(map(str.isspace, url)):
        raise ValueError(NEEDED)
    if port == 0:
        raise ValueError(_PORTS)
    return url
