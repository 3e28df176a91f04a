"""Texts in requests and settings: base64 and URLs."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote, urlsplit

_DATA_URL = re.compile(r"\s*data:([^,]*),", re.IGNORECASE)
_BLANKS = b" \t\r\n\f\v"
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")


def decode_base64(text: str) -> bytes:
    """Return the bytes that a text holds.

    Args:
        text: Base64 in either alphabet of RFC 4648, with or without padding and line breaks, or a data URL with such.

    Raises:
        ValueError: The text is something else; the message names it.
    """
    data_url = _DATA_URL.match(text)
    if data_url is not None:
        if not data_url[1].replace(" ", "").lower().endswith(";base64"):
            raise ValueError("a data URL without ;base64 before its comma")
        text = text[data_url.end() :]
        text = unquote(text) if "%" in text else text
    if not text.isascii():
        raise ValueError("not base64 (RFC 4648): a character that is not ASCII")
    digits = text.encode().translate(_STANDARD_ALPHABET, delete=_BLANKS).rstrip(b"=")
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except ValueError as error:
        if len(digits) % 4 == 1 and re.fullmatch(rb"[A-Za-z0-9+/]*", digits):
            raise ValueError(f"not base64 (RFC 4648): {len(digits)} digits, so it was cut") from error
        raise ValueError("not base64 (RFC 4648): a character of no alphabet, or padding before the end") from error


NEEDED = "a URL is required, such as http://127.0.0.1:8001 or https://shop.example/photos"
_PORTS = "a port is a number from 1 to 65535"


def checked_http_url(given: str) -> str:
    """Return the URL of a server, without the blanks around it.

    Raises:
        ValueError: The text is not a URL; the message names the expected form.
    """
    url = given.strip()
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:  # brackets that do not close, an invalid port
        out_of_range = str(error).startswith("Port out of range")
        raise ValueError(_PORTS if out_of_range else NEEDED) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or any(map(str.isspace, url)):
        raise ValueError(NEEDED)
    if port == 0:
        raise ValueError(_PORTS)
    return url
