"""The static files of the web page."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from query_api.http.page_files import install_page, joined_script

RUNTIME = b"\0asm" + bytes(range(256)) * 8
MODULES = {
    "app.js": """import { add as sum, STEP } from "./sums.js";
import * as words from "./words.js";
const LOCAL = 1;
import("./later.js").then(({ late }) => console.log(sum(LOCAL, STEP), words.shout("ok"), late()));
""",
    "sums.js": """export const STEP = 2;
const LOCAL = 10;
export function add(a, b) {
  return a + b + LOCAL;
}
""",
    "words.js": """export class Word {}
export async function wait() {}
export const shout = (text) => `${text.toUpperCase()}!`;
""",
    "later.js": 'import { shout } from "./words.js";\nexport const late = () => shout("later");\n',
}

pytestmark = pytest.mark.anyio


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    (tmp_path / "index.html").write_text("<title>search</title>")
    (tmp_path / "ort").mkdir()
    (tmp_path / "ort" / "runtime.wasm.gz").write_bytes(gzip.compress(RUNTIME))
    (tmp_path / "sw.js").write_text("// worker\n" * 100)
    for name, source in MODULES.items():
        (tmp_path / name).write_text(source)
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


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


async def test_the_script_is_one_file_with_its_modules(browser: httpx.AsyncClient, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js: apt-get install nodejs")
    answer = await browser.get("/page/app.js", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["content-encoding"] == "gzip"
    assert "import" not in answer.text
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "script.mjs").write_text(answer.text)
    assert _output([node, str(alone / "script.mjs")]) == "13 OK! LATER!\n"


async def test_the_script_is_sent_again_only_after_a_module_has_changed(
    browser: httpx.AsyncClient, tmp_path: Path
) -> None:
    plain = await browser.get("/page/app.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    seen = {"If-None-Match": plain.headers["etag"]}
    assert (await browser.get("/page/app.js", headers=seen)).status_code == 304
    (tmp_path / "later.js").write_text('export const late = () => "changed";\n')
    changed = await browser.get("/page/app.js", headers=seen)
    assert changed.status_code == 200
    assert '"changed"' in changed.text


@pytest.mark.parametrize(
    "sources",
    [
        {"app.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./app.js";\nexport const b = 1;\n'},
        {"app.js": 'import def from "./b.js";\n', "b.js": "export const b = 1;\n"},
        {"app.js": "export default 1;\n"},
        {"app.js": "export let changing = 1;\n"},
    ],
)
def test_modules_that_cannot_be_joined_are_rejected(tmp_path: Path, sources: dict[str, str]) -> None:
    for name, source in sources.items():
        (tmp_path / name).write_text(source)
    with pytest.raises(ValueError, match=r"import each other|cannot be joined"):
        joined_script(tmp_path)
