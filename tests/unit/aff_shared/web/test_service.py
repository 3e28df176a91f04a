from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Body, FastAPI, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from aff_shared.errors import EncoderError, ImageError, ImageNotFoundError, WorkerError
from aff_shared.web.problems import problem_responses
from aff_shared.web.service import create_service
from aff_shared.web.settings import ListenSettings
from aff_shared.workers.worker_life import WorkerStartError
from tests.support.problems import require_problem

MAX_BODY_BYTES = 1000
BODY_TIMEOUT_S = 0.2
MAX_QUEUED_BYTES = 1200

Answer = dict[str, Any]


@asynccontextmanager
async def _no_lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


def _service(root_path: str = "", **limits: Any) -> FastAPI:
    app = create_service(
        title="Test",
        description="For tests.",
        version="1",
        lifespan=_no_lifespan,
        listen=ListenSettings(
            port=0,
            root_path=root_path,
            **{"max_body_bytes": MAX_BODY_BYTES, "body_timeout_s": BODY_TIMEOUT_S, **limits},
        ),
    )

    @app.get("/images/{item_id}", responses=problem_responses(ImageNotFoundError))
    async def get_image(item_id: str) -> Answer:
        raise ImageNotFoundError("the gallery holds no such image", item=item_id)

    @app.get("/stream")
    async def get_stream() -> StreamingResponse:
        return StreamingResponse(_chunks(2))

    @app.get("/pages")
    async def get_page(limit: Annotated[int, Query(ge=1, le=10)] = 5) -> Answer:
        return {"limit": limit}

    @app.get("/bug")
    async def get_bug() -> Answer:
        raise RuntimeError("secret /opt/private/path")

    @app.get("/encoder")
    async def get_encoding() -> Answer:
        raise EncoderError("the session failed")

    @app.post("/length")
    async def post_length(request: Request) -> Answer:
        return {"length": len(await request.body())}

    @app.post("/json", responses=problem_responses(ImageError))
    async def post_json(images: Annotated[list[int], Body(embed=True)]) -> Answer:
        return {"sum": sum(images)}

    app.include_router(_pictures())
    return app


def _pictures() -> APIRouter:
    router = APIRouter()

    @router.get("/pictures")
    async def list_pictures() -> Answer:
        return {"listed": True}

    @router.post("/pictures")
    async def add_picture() -> Answer:
        return {}

    @router.get("/pictures/{item_id:path}")
    async def get_picture(item_id: str) -> Answer:
        return {"id": item_id}

    return router


def _client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://service")


async def _request(method: str, path: str, root_path: str = "", **options: Any) -> httpx.Response:
    async with _client(_service(root_path)) as client:
        return await client.request(method, path, **options)


pytestmark = pytest.mark.anyio


async def test_a_service_reports_that_it_is_alive() -> None:
    response = await _request("GET", "/healthz")
    assert response.json() == {"status": "alive"}


async def test_an_error_of_the_tree_is_answered_with_its_status_code_and_item() -> None:
    response = await _request("GET", "/images/cat")
    problem = require_problem(response, 404, "image_not_found", "cat")
    assert problem["detail"] == "the gallery holds no such image"


async def test_an_item_that_utf8_cannot_encode_is_still_answered() -> None:
    async with _client(_service()) as client:
        response = await client.post(
            "/json", content=rb'{"images": ["\ud800"]}', headers={"content-type": "application/json"}
        )
    require_problem(response, 422, "parameter_invalid", "images.0")


async def test_a_parameter_out_of_range_is_named() -> None:
    response = await _request("GET", "/pages", params={"limit": 11})
    problem = require_problem(response, 422, "parameter_invalid", "limit")
    assert "10" in problem["detail"]


async def test_a_missing_member_of_a_json_body_is_named() -> None:
    response = await _request("POST", "/json", json={})
    require_problem(response, 422, "parameter_invalid", "images")


async def test_a_body_that_is_not_json_is_rejected_with_the_reason() -> None:
    response = await _request("POST", "/json", content=b'{"images": [1,', headers={"content-type": "application/json"})
    problem = require_problem(response, 422, "parameter_invalid", "body")
    assert problem["detail"].startswith("JSON decode error: ")


async def test_an_unknown_path_is_a_problem() -> None:
    require_problem(await _request("GET", "/nowhere"), 404, "not_found")


async def test_a_wrong_method_is_a_problem_that_names_the_right_ones() -> None:
    response = await _request("DELETE", "/healthz")
    require_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("below", ["", "/photos"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_a_slash_at_the_end_changes_nothing(method: str, below: str) -> None:
    async with _client(_service(below)) as client:
        for path in ("/healthz", "/pages", "/length", "/metrics", "/docs", "/nowhere", "/pictures"):
            without = await client.request(method, path, content=b"abc")
            for slashes in ("/", "//"):
                response = await client.request(method, f"{below}{path}{slashes}", content=b"abc")
                assert response.status_code == without.status_code, path
                for header in ("content-type", "allow"):
                    assert response.headers.get(header) == without.headers.get(header), path
                assert response.text == without.text or path == "/metrics", path


async def test_a_slash_at_the_end_of_an_id_belongs_to_it() -> None:
    assert (await _request("GET", "/pictures/a/")).json() == {"id": "a/"}
    assert (await _request("GET", "/pictures/")).json() == {"listed": True}


async def test_a_wrong_method_names_the_methods_of_every_route_of_the_path() -> None:
    response = await _request("PATCH", "/pictures")
    require_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD, POST"
    assert (await _request("POST", "/docs/files/swagger-ui.css")).headers["allow"] == "GET, HEAD"


async def test_the_documentation_is_complete_without_another_host() -> None:
    async with _client(_service()) as client:
        page = await client.get("/docs")
        named = re.findall(r'(?:href|src|data-document)="([^"]+)"', page.text)
        assert len(named) == 4
        for path in named:
            assert path.startswith("/")
            assert (await client.get(path)).status_code == 200
        assert not re.search(r"https?:|//", page.text)
        policy = page.headers["content-security-policy"]
        assert "http" not in policy
        script = re.search(r"<script>(.*?)</script>", page.text, re.DOTALL)
        assert script is not None
        digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


@pytest.mark.parametrize(
    "path", ["/healthz", "/pages?limit=3", "/docs", "/openapi.json", "/images/cat", "/nowhere", "/stream"]
)
async def test_head_is_answered_as_get_without_the_body(path: str) -> None:
    async with _client(_service()) as client:
        get, head = await client.get(path), await client.head(path)
    assert head.content == b""
    assert head.status_code == get.status_code
    for header in ("content-length", "content-type", "content-security-policy"):
        assert head.headers.get(header) == get.headers.get(header)


async def test_head_of_a_path_without_get_is_a_wrong_method() -> None:
    response = await _request("HEAD", "/length")
    assert (response.status_code, response.headers["allow"], response.content) == (405, "POST", b"")


async def test_head_is_counted_as_itself_by_its_route() -> None:
    async with _client(_service()) as client:
        await client.head("/images/a")
        figures = (await client.get("/metrics")).text
    assert 'aff_http_requests_total{method="HEAD",route="/images/{item_id}",status="404"} 1.0' in figures


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "identity, gzip", "nonsense"])
async def test_a_body_that_is_encoded_is_rejected_unread_by_the_name_of_its_encoding(encoding: str) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"x"

    response = await _request("POST", "/length", content=body(), headers={"Content-Encoding": encoding})
    problem = require_problem(response, 415, "content_encoding_unsupported", "content-encoding")
    assert encoding in problem["detail"]
    assert response.headers["accept-encoding"] == "identity"
    assert read == 0


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
async def test_a_body_with_the_encoding_identity_is_accepted(encoding: str) -> None:
    response = await _request("POST", "/length", content=b"abc", headers={"Content-Encoding": encoding})
    assert response.json() == {"length": 3}


@pytest.mark.parametrize("below", ["/photos", "/photos/", "/a/b"])
async def test_below_a_path_of_a_proxy_it_answers_with_and_without_it(below: str) -> None:
    path = below.rstrip("/")
    for prefix in ("", path):
        assert (await _request("GET", f"{prefix}/pages", below)).json() == {"limit": 5}
        assert (await _request("HEAD", f"{prefix}/pages", below)).status_code == 200
        assert (await _request("POST", f"{prefix}/pages", below)).status_code == 405
        require_problem(await _request("GET", f"{prefix}/images/cat", below), 404, "image_not_found", "cat")
        require_problem(await _request("GET", f"{prefix}/nowhere", below), 404, "not_found")
        document = await _request("GET", f"{prefix}/openapi.json", below)
        assert document.json()["servers"] == [{"url": path}]
        documentation = await _request("GET", f"{prefix}/docs", below)
        assert f'"{path}/openapi.json"' in documentation.text
        assert f'src="{path}/docs/files/swagger-ui-bundle.js"' in documentation.text
        assert (await _request("GET", f"{prefix}/docs/files/swagger-ui-bundle.js", below)).status_code == 200


async def test_a_path_of_a_proxy_may_be_called_as_one_of_the_service() -> None:
    assert (await _request("GET", "/pages", "/pages")).json() == {"limit": 5}
    assert (await _request("GET", "/pages/pages", "/pages")).json() == {"limit": 5}
    require_problem(await _request("GET", "/images/cat", "/images"), 404, "image_not_found", "cat")
    require_problem(await _request("GET", "/images/images/cat", "/images"), 404, "image_not_found", "cat")


@pytest.mark.parametrize("given", ["photos", "/a//b", "/a b", "/../a", "/.", "https://x/photos", "/a?b", "/é"])
async def test_what_is_no_path_of_a_proxy_is_rejected(given: str) -> None:
    with pytest.raises(ValidationError, match="a path such as /photos"):
        _service(given)


async def test_a_bug_is_answered_without_its_words_and_logged_with_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    response = await _request("GET", "/bug")
    require_problem(response, 500, "internal_error")
    assert "secret" not in response.text
    assert "RuntimeError" not in response.text
    assert "GET /bug failed" in caplog.text
    assert "secret /opt/private/path" in caplog.text


async def test_an_internal_error_of_the_tree_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    require_problem(await _request("GET", "/encoder"), 500, "encoder_failed")
    assert "GET /encoder failed" in caplog.text


@pytest.mark.parametrize("path", ["/length", "/healthz", "/nowhere"])
async def test_a_body_that_announces_too_many_bytes_is_rejected_unread(path: str) -> None:
    response = await _request("POST", path, content=b"x" * (MAX_BODY_BYTES + 1))
    problem = require_problem(response, 413, "body_too_large")
    assert "1000 bytes" in problem["detail"]


async def _chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 100


@pytest.mark.parametrize("content_type", ["image/jpeg", "application/json"])
@pytest.mark.parametrize("path", ["/length", "/json"])
async def test_a_chunked_body_is_rejected_when_it_passes_the_limit(path: str, content_type: str) -> None:
    response = await _request("POST", path, content=_chunks(11), headers={"content-type": content_type})
    require_problem(response, 413, "body_too_large")


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    assert (await _request("POST", "/length", content=b"x" * MAX_BODY_BYTES)).json() == {"length": 1000}
    assert (await _request("POST", "/length", content=_chunks(10))).json() == {"length": 1000}


async def test_a_caller_that_hangs_up_leaves_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []

    async def receive() -> Answer:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/length", "headers": [], "query_string": b""}
    await _service()(scope, receive, send)
    assert sent[0]["status"] == HTTPStatus.BAD_REQUEST
    assert not caplog.records


async def test_requests_are_counted_and_timed_by_route_template() -> None:
    async with _client(_service()) as client:
        for path in ("/images/a", "/images/b", "/nowhere", "/bug"):
            await client.get(path)
        await client.request("BREW", "/pot")
        response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.text.splitlines()
    requests = "aff_http_requests_total"
    assert f'{requests}{{method="GET",route="/images/{{item_id}}",status="404"}} 2.0' in lines
    assert f'{requests}{{method="GET",route="unmatched",status="404"}} 1.0' in lines
    assert f'{requests}{{method="GET",route="/bug",status="500"}} 1.0' in lines
    assert f'{requests}{{method="other",route="unmatched",status="404"}} 1.0' in lines
    latency = 'aff_http_request_duration_seconds_bucket{le="10.0",method="GET",route="/images/{item_id}"}'
    assert f"{latency} 2.0" in lines
    assert "aff_http_requests_in_flight 1.0" in lines  # the request for the metrics itself


async def test_two_services_in_one_process_keep_their_metrics_apart() -> None:
    async with _client(_service()) as one, _client(_service()) as other:
        await one.get("/pages")
        assert "/pages" in (await one.get("/metrics")).text
        assert "/pages" not in (await other.get("/metrics")).text


async def test_the_lifespan_of_a_service_is_run() -> None:
    sent: list[str] = []
    inbox = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(inbox)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await _service()({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_the_document_names_operations_by_their_functions_and_refers_to_one_problem_schema() -> None:
    document = (await _request("GET", "/openapi.json")).json()
    operation = document["paths"]["/images/{item_id}"]["get"]
    assert operation["operationId"] == "get_image"
    content = operation["responses"]["404"]["content"]
    assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert set(document["components"]["schemas"]["Problem"]["properties"]) == {
        *("type", "title", "status", "detail", "code", "item")
    }
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_a_class_documents_its_subclasses_and_the_errors_of_any_route() -> None:
    responses = problem_responses(ImageError)
    assert list(responses) == [400, 401, 403, 408, 413, 415, 421, 422, 429, 431, 500, 503]
    assert "`body_too_large`" in responses[413]["description"]
    assert "`image_too_many_pixels`" in responses[413]["description"]
    assert responses[415]["description"] == (
        "`content_encoding_unsupported` (Content encoding not supported), `image_unsupported` (Not a supported image)"
    )
    assert responses[500]["description"] == "`internal_error` (Internal error)"


async def test_a_code_that_several_errors_share_is_documented_once() -> None:
    assert problem_responses(WorkerError, WorkerStartError)[500]["description"].count("`worker_failed`") == 1


async def test_a_body_that_does_not_arrive_in_time_is_given_up() -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b"half of"
        await asyncio.sleep(30)

    transport = httpx.ASGITransport(app=_service(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        problem = require_problem(await client.post("/length", content=half()), 408, "body_timeout")
        assert "0.2 s" in problem["detail"]
        assert (await client.post("/length", content=b"whole")).json() == {"length": 5}


class _Upload:
    """A body that is started, and whose end is withheld."""

    def __init__(self, size: int) -> None:
        self.begun, self._go_on = asyncio.Event(), asyncio.Event()
        self._size = size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun.set()
        yield b"x" * (self._size - 1)
        await self._go_on.wait()
        yield b"x"

    def end(self) -> None:
        self._go_on.set()


@asynccontextmanager
async def _withheld(client: httpx.AsyncClient, size: int, *, announced: bool = True) -> AsyncIterator[None]:
    upload = _Upload(size)
    headers = {"content-length": str(size)} if announced else {}
    sent = asyncio.create_task(client.post("/length", content=upload, headers=headers))
    await upload.begun.wait()
    await asyncio.sleep(0.01)
    try:
        yield
    finally:
        upload.end()
        assert (await sent).json() == {"length": size}


async def _unread() -> AsyncIterator[bytes]:
    raise AssertionError("read")
    yield b""


@pytest.mark.parametrize("path", ["/length", "/json"])
async def test_a_body_over_the_byte_budget_is_rejected_unread(path: str) -> None:
    app = _service(body_timeout_s=30, max_queued_bytes=MAX_QUEUED_BYTES)
    headers = {"content-length": "201", "content-type": "application/json"}
    async with _client(app) as client:
        async with _withheld(client, 1000):
            refused = await client.post(path, content=_unread(), headers=headers)
            problem = require_problem(refused, 429, "service_overloaded")
            assert "1000 bytes" in problem["detail"]
            assert refused.headers["retry-after"] == "1"
            assert {"x-request-id", "content-security-policy"} <= refused.headers.keys()
            assert (await client.post("/length", content=b"x" * 200)).json() == {"length": 200}
            assert (await client.get("/pages")).status_code == 200
            assert "aff_http_queued_bytes 1000.0" in (await client.get("/metrics")).text
        assert (await client.post("/length", content=b"x" * 201)).json() == {"length": 201}
        figures = (await client.get("/metrics")).text
    assert "aff_http_queued_bytes 0.0" in figures
    assert f'aff_http_requests_total{{method="POST",route="{path}",status="429"}} 1.0' in figures


async def test_a_chunked_body_takes_room_as_it_arrives() -> None:
    app = _service(body_timeout_s=30, max_queued_bytes=MAX_QUEUED_BYTES)
    async with _client(app) as client, _withheld(client, 1000, announced=False):
        require_problem(await client.post("/length", content=_chunks(3)), 429, "service_overloaded")
        assert (await client.post("/length", content=_chunks(2))).json() == {"length": 200}


async def test_only_so_many_bodies_are_read_at_the_same_time() -> None:
    app = _service(body_timeout_s=30, max_queued_requests=2)
    async with _client(app) as client:
        async with _withheld(client, 10), _withheld(client, 10, announced=False):
            require_problem(await client.post("/length", content=b"x"), 429, "service_overloaded")
            assert (await client.post("/length")).json() == {"length": 0}
        assert (await client.post("/length", content=b"x")).json() == {"length": 1}


async def test_a_request_that_is_answered_without_its_body_needs_no_room() -> None:
    app = _service(body_timeout_s=30, max_queued_bytes=MAX_QUEUED_BYTES)
    async with _client(app) as client, _withheld(client, 1000):
        answer = await client.post("/nowhere", content=_unread(), headers={"content-length": "900"})
    require_problem(answer, 404, "not_found")


async def test_a_body_that_is_given_up_leaves_its_room_to_others() -> None:
    async with _client(_service(max_queued_requests=1)) as client:
        upload = _Upload(1000)
        require_problem(await client.post("/length", content=upload), 408, "body_timeout")
        assert (await client.post("/length", content=b"x")).json() == {"length": 1}
