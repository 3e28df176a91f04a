"""Origins of web pages, in the one form that they are compared in."""

from __future__ import annotations

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def normal_origin(origin: str) -> str:
    """Return an origin as browsers send it: in lower case, without the scheme's default port.

    Args:
        origin: Such as `https://Shop.Example:443`.

    Returns:
        Such as `https://shop.example`; what is no origin, such as `null`, comes back as it is.
    """
    try:
        parts = urlsplit(origin)
        name, port = parts.hostname, parts.port
    except ValueError:  # brackets that do not close, a port that is no number
        return origin
    if not parts.scheme or not name:
        return origin
    host = f"[{name}]" if ":" in name else name
    there = port is not None and port != _DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}:{port}" if there else f"{parts.scheme}://{host}"
