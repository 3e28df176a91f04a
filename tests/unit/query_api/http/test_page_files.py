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
    app = FastAPI()
    install_page(app, tmp_path)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://query") as client:
        yield client


async def test_the_page_loads_nothing_from_elsewhere_and_is_framed_by_nobody(browser: httpx.AsyncClient) -> None:
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


@pytest.mark.parametrize("path", ["/page/ort/other.wasm", "/page/../page_files.py", "/page/%2e%2e/page_files.py"])
async def test_what_is_no_file_of_the_page_is_not_found(browser: httpx.AsyncClient, path: str) -> None:
    assert (await browser.get(path)).status_code == 404
