from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry

from aff_contracts.web.problems import install_problem_handlers
from aff_contracts.web.uploads import is_form, read_form
from tests.support.problems import require_problem

MAX_FILES = 2
MAX_TEXT_BYTES = 300

pytestmark = pytest.mark.anyio


async def _post(**options: Any) -> httpx.Response:
    app = FastAPI()
    install_problem_handlers(app, CollectorRegistry())

    @app.post("/")
    async def post_form(request: Request) -> dict[str, Any]:
        if not is_form(request):
            return {"raw": len(await request.body())}
        form = await read_form(request, max_files=MAX_FILES, max_text_bytes=MAX_TEXT_BYTES)
        files = [(file.name, file.data.decode()) for file in form.files("images")]
        return {"files": files, "items": form.text("items")}

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.post("/", **options)


async def test_a_form_gives_its_files_in_order_and_its_text() -> None:
    files = [("images", ("b.jpg", b"two")), ("images", ("c.jpg", b"one")), ("items", (None, "[1]"))]
    response = await _post(files=files)
    assert response.json() == {"files": [["b.jpg", "two"], ["c.jpg", "one"]], "items": "[1]"}


async def test_a_file_without_a_name_has_none() -> None:
    part = 'Content-Disposition: form-data; name="images"; filename=""'
    body = f"--b\r\n{part}\r\n\r\none\r\n--b--\r\n".encode()
    response = await _post(content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert response.json()["files"] == [[None, "one"]]


async def test_a_form_without_a_field_gives_nothing_for_it() -> None:
    response = await _post(files=[("other", (None, "1"))])
    assert response.json() == {"files": [], "items": None}


async def test_a_text_part_may_come_as_a_file() -> None:
    response = await _post(files=[("items", ("items.json", b"[2]"))])
    assert response.json()["items"] == "[2]"


async def test_a_raw_body_is_no_form() -> None:
    response = await _post(content=b"abc", headers={"content-type": "image/png"})
    assert response.json() == {"raw": 3}


@pytest.mark.parametrize(
    ("parts", "status", "code", "item"),
    [
        ([("images", (None, "text"))], 422, "parameter_invalid", "images"),
        ([("items", (None, "[]")), ("items", (None, "[]"))], 422, "parameter_invalid", "items"),
        ([("items", ("items.json", b"\xff"))], 422, "parameter_invalid", "items"),
        ([("images", (f"{n}.jpg", b"x")) for n in range(MAX_FILES + 1)], 413, "too_many_images", None),
        ([("items", (None, "x" * (MAX_TEXT_BYTES + 1)))], 400, "request_malformed", None),
    ],
)
async def test_a_form_that_does_not_fit_is_refused(parts: Any, status: int, code: str, item: str | None) -> None:
    require_problem(await _post(files=parts), status, code, item)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("multipart/form-data", b"x"), ("multipart/form-data; boundary=b", b"no boundary here")],
)
async def test_a_malformed_form_is_refused(content_type: str, body: bytes) -> None:
    response = await _post(content=body, headers={"content-type": content_type})
    require_problem(response, 400, "request_malformed")
