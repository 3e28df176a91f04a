"""The static files of the web page."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from query_api.http.page_files import install_page

RUNTIME = b"\0asm" + bytes(range(256)) * 8

pytestmark = pytest.mark.anyio


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    (tmp_path / "index.html").write_text("<title>search</title>")
    (tmp_path / "ort").mkdir()
    (tmp_path / "ort" / "runtime.wasm.gz").write_bytes(gzip.compress(RUNTIME))
    (tmp_path / "sw.js").write_text("// worker\n" * 100)
    app = FastAPI()
    install_page(app, tmp_path)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://query") as client:
        yield client


async def test_the_page_loads_nothing_from_elsewhere_and_cannot_be_framed(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/")
    assert answer.text == "<title>search</title>"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip, br", "gzip"), ("identity", None)])
async def test_compressed_files_are_served_compressed_or_not(
    browser: httpx.AsyncClient, accepted: str, encoding: str | None
) -> None:
    answer = await browser.get("/page/ort/runtime.wasm", headers={"Accept-Encoding": accepted})
    assert answer.content == RUNTIME
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["content-type"] == "application/wasm"
    assert answer.headers["vary"] == "Accept-Encoding"


async def test_scripts_are_compressed_on_request_and_cached(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/page/sw.js", headers={"Accept-Encoding": "gzip"})
    assert answer.text == "// worker\n" * 100
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < 100
    again = await browser.get(
        "/page/sw.js", headers={"Accept-Encoding": "gzip", "If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304
    plain = await browser.get("/page/sw.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == answer.text


async def test_the_service_worker_may_control_the_whole_page(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/page/sw.js")).headers["service-worker-allowed"] == "../"


@pytest.mark.parametrize(
    ("url", "origin"),
    [("https://index.example:8443/path", " https://index.example:8443"), ("/indexer", ""), ("", "")],
)
async def test_the_page_may_connect_to_the_indexer(tmp_path: Path, url: str, origin: str) -> None:
    (tmp_path / "index.html").write_text("")
    app = FastAPI()
    install_page(app, tmp_path, indexer_url=url)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://query") as client:
        policy = (await client.get("/")).headers["content-security-policy"]
    assert f"connect-src 'self'{origin};" in policy


@pytest.mark.parametrize("path", ["/page/ort/other.wasm", "/page/../page_files.py", "/page/%2e%2e/page_files.py"])
async def test_what_is_no_file_of_the_page_is_not_found(browser: httpx.AsyncClient, path: str) -> None:
    assert (await browser.get(path)).status_code == 404
