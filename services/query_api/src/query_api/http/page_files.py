"""The static files of the web page."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import mimetypes
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from starlette.datastructures import Headers
from starlette.responses import FileResponse, HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from aff_shared.web.routing import is_unchanged

_DIRECTORY = Path(__file__).parents[1] / "page"
_TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm", ".webmanifest": "application/manifest+json"}
_SERVICE_WORKER = "sw.js"
_SCRIPT = "app.js"


def install_page(app: FastAPI, directory: Path = _DIRECTORY, *, root_path: str = "", indexer_url: str = "") -> None:
    """Serve the page at `/` and what it loads below `/page`.

    Args:
        app: The service.
        directory: Directory of the files.
        root_path: Below which a proxy shows the service. The page names its files relative to itself, which holds below
            any path that ends with a slash; with this one, the slash may be missing.
        indexer_url: URL of the indexer, to which the page may send requests; a path on the page's own origin, or
            empty, adds no permission.
    """
    headers = _headers(indexer_url)
    files = PageFiles(directory, headers)
    index = (directory / "index.html").read_text(encoding="utf-8")
    if root_path:
        index = index.replace('="page/', f'="{root_path}/page/')

    async def page() -> Response:
        return HTMLResponse(index, headers=headers)

    app.add_api_route("/", page, include_in_schema=False)
    app.mount("/page", files, name="page")


def _headers(indexer_url: str) -> dict[str, str]:
    parts = urlsplit(indexer_url)
    origin = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
    return {
        "Content-Security-Policy": (
            f"default-src 'self'; connect-src 'self'{origin}; img-src 'self' blob: data:{origin}; "
            "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; "
            "frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
        # These let the encoder's runtime compute in several threads.
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


class PageFiles(StaticFiles):
    """Static files, sent compressed to browsers that accept it; large ones are stored only compressed.

    The page's script is sent with all modules that it imports as one file: over HTTP/1.1 a browser requests six at a
    time, and finds most of them only after it has read the first ones.

    Args:
        directory: Directory of the files.
        headers: Headers of every response.
    """

    def __init__(self, directory: Path, headers: Mapping[str, str]) -> None:
        super().__init__(directory=directory)
        self._headers = headers

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Respond with a file; raises HTTPException if it does not exist."""
        accepted = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        compressed, found = self.lookup_path(f"{path}.gz")
        if path == _SCRIPT:
            response = await asyncio.to_thread(_script_response, Path(str(self.directory)), Request(scope), accepted)
        elif found is None:
            response = await super().get_response(path, scope)
            if accepted and isinstance(response, FileResponse) and _is_text(path):
                response = await _compressed(response)
        elif accepted:
            response = self.file_response(compressed, found, scope)
            response.headers["Content-Encoding"] = "gzip"
        else:
            response = Response(await asyncio.to_thread(_unpacked, Path(compressed)))
        kind = _media_type(path)
        response.headers.update(self._headers)
        response.headers["Content-Type"] = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        response.headers.add_vary_header("Accept-Encoding")
        if path == _SERVICE_WORKER:
            response.headers["Service-Worker-Allowed"] = "../"
        return response


def _media_type(path: str) -> str:
    return _TYPES.get(Path(path).suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"


def _is_text(path: str) -> bool:
    return _media_type(path).startswith(("text/", "image/svg", "application/manifest"))


async def _compressed(response: FileResponse) -> Response:
    """Return a response with a small file's compressed content, and the headers with which it is cached."""
    changed_ns = response.stat_result.st_mtime_ns if response.stat_result else 0
    content = await asyncio.to_thread(_packed, Path(response.path), changed_ns)
    headers = {name: response.headers[name] for name in ("etag", "last-modified") if name in response.headers}
    return Response(content, headers={**headers, "Content-Encoding": "gzip"})


@lru_cache(maxsize=64)
def _packed(path: Path, changed_ns: int) -> bytes:  # noqa: ARG001 - a changed file is another entry
    return gzip.compress(path.read_bytes(), mtime=0)


def _unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


_IMPORT = re.compile(r'^import (\{[^}]*\}|\* as \w+) from "\./([\w.]+)";$', re.MULTILINE)
_DEFERRED_IMPORT = re.compile(r'\bimport\("\./([\w.]+)"\)')
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


def joined_script(directory: Path, name: str = _SCRIPT) -> str:
    """Return a module and all modules that it imports as one module; each is a function that returns its exports.

    Args:
        directory: Directory of the modules.
        name: File name of the first one.

    Raises:
        ValueError: A module imports or exports in another form than the page's do, or modules import each other.
    """
    found: dict[str, str] = {}
    _join(directory, name, found, ())
    return "".join(found.values())


def _join(directory: Path, name: str, found: dict[str, str], importing: tuple[str, ...]) -> None:
    if name in importing:
        raise ValueError(f"modules import each other: {' > '.join((*importing, name))}")
    if name in found:
        return
    source = (directory / name).read_text(encoding="utf-8")
    for pattern in (_IMPORT, _DEFERRED_IMPORT):
        for imported in pattern.finditer(source):
            _join(directory, imported[pattern.groups], found, (*importing, name))
    body = _DEFERRED_IMPORT.sub(lambda match: f"Promise.resolve({_variable(match[1])})", _IMPORT.sub(_bound, source))
    exported = ", ".join(_EXPORT.findall(source))
    body = _EXPORT.sub("", body)
    if re.search(r"^(import|export)\b", body, re.MULTILINE):
        raise ValueError(f"{name} imports or exports in a form that cannot be joined")
    found[name] = f"const {_variable(name)} = (() => {{\n{body}\nreturn {{ {exported} }};\n}})();\n"


def _bound(imported: re.Match[str]) -> str:
    names = imported[1].removeprefix("* as ").replace(" as ", ": ")
    return f"const {names} = {_variable(imported[2])};"


def _variable(name: str) -> str:
    return "$" + name.replace(".", "_")


@lru_cache(maxsize=4)
def _packed_script(directory: Path, changed_ns: int) -> bytes:  # noqa: ARG001 - changed files are another entry
    return gzip.compress(joined_script(directory).encode(), mtime=0)


def _script_response(directory: Path, request: Request, accepted: bool) -> Response:
    packed = _packed_script(directory, max(path.stat().st_mtime_ns for path in directory.glob("*.js")))
    tag = f'"{hashlib.sha256(packed).hexdigest()[:32]}"'
    headers = {"ETag": tag}
    if is_unchanged(request, tag):
        return Response(status_code=304, headers=headers)
    if accepted:
        return Response(packed, headers={**headers, "Content-Encoding": "gzip"})
    return Response(gzip.decompress(packed), headers=headers)
