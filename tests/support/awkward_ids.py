"""Ids that an address does not hold as it is, and a proxy that shows it."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

ADDRESSABLE = [
    "https://example.org/a.jpg",
    "/data/a.jpg",
    "a//b.jpg",
    "folder/",
    ".hidden/a.jpg",
    ".../..a/b..",
    "a%2Fb%2e%2e%25.jpg",
    "what?id=c#d&e=+f;g.jpg",
    "back\\slash.jpg",
    " blank ",
    "thumbnail",
    "thumbnails",
    "delete",
    "lookup",
    "a/thumbnail/b.jpg",
    "Zürich/日本 ☃.jpg",
    "é" * 512,
]
REFUSED = [
    "a/../b.jpg",
    "./a.jpg",
    "../a.jpg",
    "..",
    ".",
    "a/.",
    "a\\..\\b.jpg",
    "x/thumbnail",
    "x/thumbnail/",
    "/thumbnail",
]


def behind_proxy(app: ASGIApp) -> ASGIApp:
    """Return an application that takes paths as nginx passes them on below a path: slashes are merged."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "path": re.sub("/+", "/", scope["path"])}, receive, send)

    return proxy
