from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry

from aff_shared.web.problems import install_problem_handlers
from aff_shared.web.uploads import is_form, read_form
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
        form = await read_form(request, file_field="images", max_files=MAX_FILES, max_text_bytes=MAX_TEXT_BYTES)
        files = [(file.name, file.data.decode()) for file in form.files("images")]
        return {"files": files, "items": form.text("items")}

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.post("/", **options)


async def test_a_form_is_read_as_files_in_order_and_text() -> None:
    files = [("images", ("b.jpg", b"two")), ("images", ("c.jpg", b"one")), ("items", (None, "[1]"))]
    response = await _post(files=files)
    assert response.json() == {"files": [["b.jpg", "two"], ["c.jpg", "one"]], "items": "[1]"}


async def test_a_file_without_a_name_has_none() -> None:
    part = 'Content-Disposition: form-data; name="images"; filename=""'
    body = f"--b\r\n{part}\r\n\r\none\r\n--b--\r\n".encode()
    response = await _post(content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert response.json()["files"] == [[None, "one"]]


async def test_a_form_without_a_field_has_no_files_and_no_text_for_it() -> None:
    response = await _post(files=[("other", (None, "1"))])
    assert response.json() == {"files": [], "items": None}


async def test_a_text_part_may_be_sent_as_a_file() -> None:
    response = await _post(files=[("items", ("items.json", b"[2]"))])
    assert response.json()["items"] == "[2]"


async def test_a_raw_body_is_no_form() -> None:
    response = await _post(content=b"abc", headers={"content-type": "image/png"})
    assert response.json() == {"raw": 3}


@pytest.mark.parametrize(
    ("parts", "status", "code", "item"),
    [
        ([("images", (None, "text"))], 422, "parameter_invalid", "images"),
        ([("images", (None, "x" * (MAX_TEXT_BYTES + 1)))], 422, "parameter_invalid", "images"),
        ([("items", (None, "[]")), ("items", (None, "[]"))], 422, "parameter_invalid", "items"),
        ([("items", ("items.json", b"\xff"))], 422, "parameter_invalid", "items"),
        ([("images", (f"{n}.jpg", b"x")) for n in range(MAX_FILES + 1)], 413, "too_many_images", None),
        ([("items", (None, "x" * (MAX_TEXT_BYTES + 1)))], 400, "request_malformed", None),
    ],
)
async def test_a_form_that_does_not_fit_is_rejected(parts: Any, status: int, code: str, item: str | None) -> None:
    require_problem(await _post(files=parts), status, code, item)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("multipart/form-data", b"x"), ("multipart/form-data; boundary=b", b"no boundary here")],
)
async def test_a_malformed_form_is_rejected(content_type: str, body: bytes) -> None:
    response = await _post(content=body, headers={"content-type": content_type})
    require_problem(response, 400, "request_malformed")


HEAD = b'--b\r\nContent-Disposition: form-data; name="images"; filename="%d.jpg"\r\n\r\n'
WHOLE = HEAD % 1 + b"one\r\n" + HEAD % 2 + b"two\r\n--b--"
BOTH = [["1.jpg", "one"], ["2.jpg", "two"]]


async def _post_form(body: Any) -> httpx.Response:
    return await _post(content=body, headers={"content-type": "multipart/form-data; boundary=b"})


@pytest.mark.parametrize("end", range(len(WHOLE)))
async def test_a_form_that_did_not_end_is_rejected_wherever_it_was_cut(end: int) -> None:
    require_problem(await _post_form(WHOLE[:end]), 400, "request_malformed")


async def test_an_incomplete_form_is_reported_as_such() -> None:
    problem = require_problem(await _post_form(WHOLE[:-10]), 400, "request_malformed")
    assert "closing boundary" in problem["detail"]


@pytest.mark.parametrize("after", [b"", b"\r\n", b"\r\nepilogue\r\n--b\r\n"])
@pytest.mark.parametrize(
    "before", [b"", b"\r\n", b"two\r\nlines\r\n", b"of another system\n", b"with --b inside\r\n", b"-" * 70 + b"\r\n"]
)
async def test_preamble_and_epilogue_are_passed_over(before: bytes, after: bytes) -> None:
    assert (await _post_form(before + WHOLE + after)).json()["files"] == BOTH


async def test_a_form_that_arrives_byte_by_byte_is_the_same_form() -> None:
    async def body() -> AsyncIterator[bytes]:
        for byte in b"This is a preamble\r\n" + WHOLE:
            yield bytes([byte])

    assert (await _post_form(body())).json()["files"] == BOTH


async def test_a_form_without_lines_of_the_web_is_rejected_with_the_reason() -> None:
    problem = require_problem(await _post_form(WHOLE.replace(b"\r\n", b"\n")), 400, "request_malformed")
    assert "CR" in problem["detail"]


async def test_a_form_without_parts_is_a_form() -> None:
    assert (await _post_form(b"--b--\r\n")).json() == {"files": [], "items": None}


async def test_a_filename_in_the_form_of_mails_alone_is_not_accepted() -> None:
    part = b"--b\r\nContent-Disposition: form-data; name=images; filename*=UTF-8''%e2%82%ac.jpg\r\n\r\none\r\n--b--"
    problem = require_problem(await _post_form(part), 422, "parameter_invalid", "images")
    assert "filename*" in problem["detail"]


@pytest.mark.parametrize("encoding", ["base64", "Quoted-Printable", "x-uuencode"])
async def test_a_file_encoded_as_in_mails_is_rejected_by_name(encoding: str) -> None:
    named = b'filename="1.jpg"\r\nContent-Transfer-Encoding: '
    encoded = WHOLE.replace(b'filename="1.jpg"', named + encoding.encode())
    problem = require_problem(await _post_form(encoded), 415, "content_encoding_unsupported", "images")
    assert encoding in problem["detail"]
    plain = WHOLE.replace(b'filename="1.jpg"', named + b"BINARY")
    assert (await _post_form(plain)).json()["files"] == BOTH


async def test_a_part_without_a_type_is_a_file_by_its_filename() -> None:
    assert (await _post_form(HEAD % 1 + b"one\r\n--b--\r\n")).json()["files"] == [["1.jpg", "one"]]
