"""The API guide and the README against running services: every error of the table, every curl command, the Python."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from aff_shared.bundles.bundle import load_manifest
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_toolkit.data.scenes import render_view
from aff_toolkit.local.local_service import LocalServices
from tests.e2e.conftest import ROOT
from tests.support.images import bomb_png, jpeg_bytes, png_bytes
from tests.support.tiny_bundle import TINY_BUNDLE

README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "api.md").read_text()
NAME = "photo.jpg"
PHOTOGRAPH = jpeg_bytes(render_view(7, 0))
ONE_PIXEL = png_bytes(np.zeros((1, 1, 3), np.uint8))

Search = Callable[[LocalServices], httpx.Response]


def search(data: bytes = PHOTOGRAPH, **options: str) -> Search:
    return lambda services: httpx.post(
        f"{services.query_url}/search", files={"image": (NAME, data)}, params=options, timeout=60
    )


def index(data: bytes = PHOTOGRAPH, items: str | None = None) -> Search:
    return lambda services: httpx.post(
        f"{services.indexer_url}/index",
        files={"images": (NAME, data)},
        data={} if items is None else {"items": items},
        timeout=60,
    )


def search_json(path: str, **changed: Any) -> Search:
    def send(services: LocalServices) -> httpx.Response:
        encoder = httpx.get(f"{services.query_url}/encoder", timeout=60).json()
        length = encoder["space"]["dimension"]
        body = {"fingerprint": encoder["fingerprint"], "embedding": [1.0] + [0.0] * (length - 1), **changed}
        return httpx.post(f"{services.query_url}{path}", json=body, timeout=60)

    return send


def cut_form(service: str, path: str) -> Search:
    head = '--cut\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n\r\n'
    return lambda services: httpx.post(
        f"{getattr(services, service)}{path}",
        content=head.encode() + PHOTOGRAPH,
        headers={"Content-Type": "multipart/form-data; boundary=cut"},
        timeout=60,
    )


def encoded_body(service: str, path: str) -> Search:
    return lambda services: httpx.post(
        f"{getattr(services, service)}{path}",
        content=PHOTOGRAPH,
        headers={"Content-Type": "image/jpeg", "Content-Encoding": "gzip"},
        timeout=60,
    )


# Input of the guide's table: how to send it to the query service, and to the indexer.
REQUESTS: dict[str, list[Search]] = {
    "empty body or file": [search(b""), index(b"")],
    "a text file named .jpg": [search(b"no picture, just words\n"), index(b"no picture, just words\n")],
    "truncated JPEG": [search(PHOTOGRAPH[:-2000]), index(PHOTOGRAPH[:-2000])],
    "1x1 image": [search(ONE_PIXEL), index(ONE_PIXEL)],
    "20,000 x 20,000 PNG bomb": [search(bomb_png(20_000, 20_000)), index(bomb_png(20_000, 20_000))],
    "unknown field in a filter": [search(filter='{"nearly": []}')],
    "`limit` 0 or 10^9": [search(limit="0"), search(limit=str(10**9))],
    "crop outside the image": [search(crop="10,10,5000,200")],
    "an embedding of another encoder": [search_json("/search/embedding", fingerprint="0" * 64)],
    "an embedding that is not of unit length, or of another width": [
        search_json("/search/embedding", embedding=[1.0, 0.0]),
        search_json("/search/embedding", embedding=[0.5] * load_manifest(TINY_BUNDLE).space.dimension),
    ],
    "similar to an image that does not exist": [
        lambda services: httpx.post(f"{services.query_url}/search/similar/{NAME}.gone")
    ],
    "a body that is neither a form nor an image": [search_json("/search")],
    "`items` that is not JSON": [index(items="{id: 1")],
    "a different number of `items` and images": [index(items='[{"id": "a"}, {"id": "b"}]')],
    "an id with a part `.` or `..`, or ending in `/thumbnail`": [
        index(items=json.dumps([{"id": item_id}])) for item_id in ("a/./b", "../a", "a/thumbnail")
    ],
    "an incomplete form": [cut_form("query_url", "/search"), cut_form("indexer_url", "/index")],
    "a body with `Content-Encoding`": [encoded_body("query_url", "/search"), encoded_body("indexer_url", "/index")],
    "body over the limit": [search(bytes(34 * 2**20)), index(bytes(129 * 2**20))],
}


def error_table() -> list[tuple[str, int, str, str]]:
    section = GUIDE.split("## Errors")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line][2:]
    return [(row[0], int(row[1]), row[2].strip("`"), row[3].strip("`")) for row in rows]


def test_the_table_and_the_requests_of_this_test_are_the_same_inputs() -> None:
    assert {row[0] for row in error_table()} == set(REQUESTS)


@pytest.mark.parametrize(("given", "status", "code", "item"), error_table(), ids=lambda value: str(value)[:24])
def test_bad_input_is_answered_with_the_documented_problem(
    services: LocalServices, given: str, status: int, code: str, item: str
) -> None:
    for send in REQUESTS[given]:
        problem = problem_of(send(services))
        assert (problem["status"], problem["code"]) == (status, code)
        assert problem["item"] == {"the file's name": NAME, "its id": f"{NAME}.gone", "": None}.get(item, item)
    assert search()(services).status_code == 200
    assert index()(services).status_code == 200


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    """Return the problem of a rejected request, or of the only receipt of an indexed batch."""
    if answer.is_success:
        (receipt,) = answer.json()["receipts"]
        assert receipt["status"] == "rejected"
        return receipt["error"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == answer.json()["status"]
    return answer.json()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_curl_command_works(services: LocalServices, tmp_path: Path) -> None:
    commands = re.findall(r"^curl .+$", README + GUIDE, re.M)
    assert len(commands) >= 6
    for command in commands:
        for file in re.findall(r"@(\w+\.jpg)", command):
            (tmp_path / file).write_bytes(jpeg_bytes(render_view(7, 1, size=(600, 800))))
        local = command.replace("http://localhost:8001", services.query_url)
        local = local.replace("http://localhost:8002", services.indexer_url)
        done = subprocess.run(["bash", "-c", f"{local} -s -f"], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
        answer = json.loads(done.stdout)
        assert {"receipts", "payload"} & answer.keys() or answer["hits"], command


def test_the_example_filter_is_valid() -> None:
    example = re.search(r"```json\n(.+?)\n```", GUIDE, re.S)[1]
    assert len(PayloadFilter.model_validate_json(example).must) == 4


def test_the_python_of_the_readme_runs(services: LocalServices, tmp_path: Path) -> None:
    assert index()(services).status_code == 200
    (tmp_path / "holiday.jpg").write_bytes(PHOTOGRAPH)
    (code,) = re.findall(r"```python\n(.+?)```", README, re.S)
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "walk.jpg").write_bytes(PHOTOGRAPH)
    code = code.replace("http://localhost:8001", services.query_url).replace(
        "http://localhost:8002", services.indexer_url
    )
    run = [sys.executable, "-c", code]
    receipt, *hits = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    assert re.match(r"walk\.jpg (indexed|duplicate)$", receipt)
    assert 1 <= len(hits) <= 5
    assert all(re.match(r"-?[01]\.\d{3} \S+ \{", hit) for hit in hits), hits
