"""Files of the web and of remote file systems: URLs, and reads with retries."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote

from aff_toolkit.indexing.source_item import SourceError

_Result = TypeVar("_Result")

_ATTEMPTS = 3
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
_PASSING_REFUSALS = frozenset({408, 425, 429})
_EXPLANATIONS = {
    401: ": it requires credentials",
    403: ": it denies access, or the URL's signature is wrong or has expired",
}
# Without it, aiohttp decodes percent signs that need not be there, and a signature no longer fits its URL.
WEB_OPTIONS: dict[str, Any] = {"encoded": True, "client_kwargs": {"requote_redirect_url": False}}
_KEPT = "%:/?#[]@!$&'()*+,;=~"
_URL = re.compile(r"(https?://)((?:[^/?#]*@)?)([^/?#]+)(.*)", re.IGNORECASE | re.DOTALL)
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def read_patiently(call: Callable[[], _Result], *, web: bool) -> _Result:
    """Call a function up to three times, with growing pauses of at least a host's `Retry-After`.

    Missing and forbidden files are not retried, nor permanent errors of web hosts and waits of more than a minute.

    Args:
        call: Opens or reads a file of a remote file system.
        web: Whether that is http or https.

    Raises:
        SourceError: A web host rejects the request.
        Exception: Any exception of the file system.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        pause_s = _FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
        try:
            return call()
        except Exception as error:
            refusal = Refusal.of(error) if web else None
            lasting = isinstance(error, FileNotFoundError | PermissionError)
            if refusal is not None:
                pause_s = max(pause_s, refusal.retry_after_s)
                lasting = not refusal.passing or pause_s > _LONGEST_PAUSE_S
            if lasting or attempt == _ATTEMPTS:
                if refusal is not None:
                    raise SourceError(str(refusal)) from error
                raise
        time.sleep(pause_s)
    raise AssertionError("every way out is above")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The error response of a host.

    Attributes:
        status: The HTTP status.
        retry_after_s: Seconds of its `Retry-After`; 0 without one.
    """

    status: int
    retry_after_s: float = 0.0

    @classmethod
    def of(cls, error: BaseException) -> Refusal | None:
        """Return the answer behind an error of the http file system; None where the host did not answer."""
        status = getattr(error, "status", None)
        if isinstance(status, int) and status:
            headers = getattr(error, "headers", None) or {}
            return cls(status, _seconds(headers.get("Retry-After", "")))
        if error.__cause__ is not None:
            return cls.of(error.__cause__)
        return cls(404) if isinstance(error, FileNotFoundError) else None

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status in _PASSING_REFUSALS

    def __str__(self) -> str:
        phrase = HTTPStatus(self.status).phrase if self.status in HTTPStatus._value2member_map_ else ""
        waits = f" and requests a wait of {self.retry_after_s:.0f} s" if self.retry_after_s else ""
        return f"the host answers {self.status} {phrase}".rstrip() + waits + _EXPLANATIONS.get(self.status, "")


def _seconds(retry_after: str) -> float:
    """Return the seconds of a `Retry-After`, which may be a number or a date."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def is_web(location: str) -> bool:
    """Return whether a text is an http or https URL."""
    return location.lower().startswith(("http://", "https://"))


def without_query(location: str) -> str:
    """Return a web URL without its query, in which suffixes and wildcards mean nothing; others stay as they are."""
    return re.split(r"[?#]", location, maxsplit=1)[0] if is_web(location) else location


def sendable(url: str) -> str:
    """Return a URL in which only characters that are not allowed are percent-encoded.

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
        url: URL of a file; its query is dropped.
        path: As file systems write it: nothing in it is an escape or a query.
    """
    return without_query(url).rpartition("/")[0] + "/" + quote(path, safe="/")
