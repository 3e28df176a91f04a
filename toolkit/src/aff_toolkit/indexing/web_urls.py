"""URLs of the web, as they are written and as they are sent."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

# Without it, aiohttp decodes percent signs that need not be there, and a signature no longer fits its URL.
WEB_OPTIONS: dict[str, Any] = {"encoded": True, "client_kwargs": {"requote_redirect_url": False}}

_KEPT = "%:/?#[]@!$&'()*+,;=~"
_URL = re.compile(r"(https?://)((?:[^/?#]*@)?)([^/?#]+)(.*)", re.IGNORECASE | re.DOTALL)
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def is_web(location: str) -> bool:
    """Return whether a text is an http or https URL."""
    return location.lower().startswith(("http://", "https://"))


def without_query(location: str) -> str:
    """Return a web URL without its query, in which suffixes and wildcards mean nothing; others stay as they are."""
    return re.split(r"[?#]", location, maxsplit=1)[0] if is_web(location) else location


def sendable(url: str) -> str:
    """Return a URL as it is sent: what may stand in one stays byte for byte, the rest is percent-encoded.

    Raises:
        ValueError: It is not a URL, or not text.
    """
    match = _URL.fullmatch(_STRAY_PERCENT.sub("%25", url))
    if match is None:
        raise ValueError(f"{url!r} is not a URL")
    scheme, user, host, rest = match.groups()
    host = host if host.isascii() else host.encode("idna").decode()
    return quote(f"{scheme}{user}{host}{rest}", safe=_KEPT)


def beside(url: str, path: str) -> str:
    """Return the URL of a file, given its path from the folder of another URL.

    Args:
        url: Of a file; its query is not taken over.
        path: As file systems write it: nothing in it is an escape or a query.
    """
    return without_query(url).rpartition("/")[0] + "/" + quote(path, safe="/")
