"""The static files of the web page."""

from __future__ import annotations

import asyncio
import gzip
import mimetypes
from pathlib import Path

from fastapi import FastAPI, Response
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_DIRECTORY = Path(__file__).parents[1] / "page"
_TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm", ".webmanifest": "application/manifest+json"}

# Nothing but this service's own files. The last three let the encoder's runtime compute in several threads.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; script-src 'self' 'wasm-unsafe-eval'; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def install_page(app: FastAPI, directory: Path = _DIRECTORY, *, root_path: str = "") -> None:
    """Serve the page at `/` and what it loads below `/page`.

    Args:
        app: The service.
        directory: Directory of the files.
        root_path: Below which a proxy shows the service. The page names its files relative to itself, which holds below
            any path that ends with a slash; with this one, the slash may be missing.
    """
    files = PageFiles(directory=directory)
    index = (directory / "index.html").read_text(encoding="utf-8")
    if root_path:
        index = index.replace('="page/', f'="{root_path}/page/')

    async def page() -> Response:
        return HTMLResponse(index, headers=_HEADERS)

    app.add_api_route("/", page, include_in_schema=False)
    app.mount("/page", files, name="page")


class PageFiles(StaticFiles):
    """Static files; large ones are stored compressed, and sent compressed to browsers that accept it."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Respond with a file; raises HTTPException if it does not exist."""
        compressed, found = self.lookup_path(f"{path}.gz")
        if found is None:
            response = await super().get_response(path, scope)
        elif "gzip" in Headers(scope=scope).get("accept-encoding", ""):
            response = self.file_response(compressed, found, scope)
            response.headers["Content-Encoding"] = "gzip"
        else:
            response = Response(await asyncio.to_thread(_unpacked, Path(compressed)))
        kind = _TYPES.get(Path(path).suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
        text = kind.startswith("text/")
        response.headers.update({**_HEADERS, "Content-Type": f"{kind}; charset=utf-8" if text else kind})
        response.headers.add_vary_header("Accept-Encoding")
        return response


def _unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())
