"""Logs and traces of requests, and their ids from the caller to the log."""

from __future__ import annotations

import gzip
import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from aff_client import SearchClient, ServiceError
from aff_shared.web.logs import _InBackground, configure_logging
from aff_shared.web.routing import scoped_router
from aff_shared.web.service import create_service
from aff_shared.web.settings import ListenSettings, ObserveSettings, Scope

pytestmark = pytest.mark.anyio


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Captured log output; the handlers of the test run are restored afterwards."""
    root, written = logging.getLogger(), io.StringIO()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    monkeypatch.setattr("sys.stderr", written)
    configure_logging(ObserveSettings(log_format="json"))
    yield written
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = before
    root.setLevel(level)


class _SlowReader(io.StringIO):
    """Takes nothing before it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def write(self, text: str) -> int:
        self.gate.wait()
        return super().write(text)


def test_a_stalled_reader_of_the_log_does_not_grow_the_queue_and_dropped_lines_are_counted() -> None:
    written = _SlowReader()
    handler = _InBackground(logging.StreamHandler(written), max_queued=5)
    logger = logging.Logger("service")
    logger.addHandler(handler)
    for number in range(1000):
        logger.warning("line %d", number)
    assert handler.queue.qsize() <= 6  # with the line that counts
    written.gate.set()
    handler.flush()
    logger.warning("the last line")
    handler.close()
    lines = written.getvalue().splitlines()
    kept = [line for line in lines if line.startswith("line ")]
    lost = [int(line.split()[0]) for line in lines if "log lines were dropped" in line]
    assert kept[:5] == [f"line {number}" for number in range(5)]
    assert len(kept) + sum(lost) == 1000
    assert lines[-1] == "the last line"


def test_a_process_whose_log_is_not_read_still_ends() -> None:
    program = """
import logging
from aff_shared.web import logs
from aff_shared.web.settings import ObserveSettings
logs._LAST_S = 0.05
logs.configure_logging(ObserveSettings())
for _ in range(100):
    logging.warning("x" * 10_000)
"""
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) as process:
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()


@asynccontextmanager
async def _nothing(_: FastAPI) -> AsyncIterator[None]:
    yield


def _service(logged: str = "all") -> FastAPI:
    observe = ObserveSettings.model_validate({"log_requests": logged})
    listen = ListenSettings(port=0, max_body_bytes=1000, body_timeout_s=1.0, observe=observe)
    app = create_service(title="t", description="d", version="1", lifespan=_nothing, listen=listen)
    router = scoped_router(Scope.SEARCH)

    @router.get("/good")
    async def good() -> int:
        logging.getLogger("service").warning("half way")
        return 1

    @router.get("/bad")
    async def bad() -> int:
        raise RuntimeError("a bug")

    app.include_router(router)
    return app


async def _get(app: FastAPI, path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.get(path, headers=headers)


def _logged(lines: io.StringIO) -> list[dict[str, Any]]:
    for handler in logging.getLogger().handlers:
        handler.flush()
    return [json.loads(line) for line in lines.getvalue().splitlines()]


async def test_every_line_of_a_request_has_its_id_and_so_has_the_answer(lines: io.StringIO) -> None:
    answer = await _get(_service(), "/good", **{"X-Request-Id": "from-the-caller.1"})
    assert answer.headers["x-request-id"] == "from-the-caller.1"
    within, end = _logged(lines)
    assert (within["message"], within["level"], within["request_id"]) == ("half way", "WARNING", "from-the-caller.1")
    assert (end["method"], end["path"], end["status"], end["request_id"]) == ("GET", "/good", 200, "from-the-caller.1")
    assert end["duration_ms"] >= 0
    assert end["timestamp"].endswith("+00:00")


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 129, 'a","level":"forged'])
async def test_an_id_that_is_unsafe_to_log_is_replaced(lines: io.StringIO, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-Id": given}
    found = (await _get(_service(), "/good", **headers)).headers["x-request-id"]
    assert found != given
    assert len(found) == 32
    assert _logged(lines)[-1]["request_id"] == found


async def test_a_bug_is_logged_with_its_traceback_and_answered_without(lines: io.StringIO) -> None:
    answer = await _get(_service(), "/bad")
    assert answer.status_code == 500
    assert "a bug" not in answer.text
    failed = [line for line in _logged(lines) if line["level"] == "ERROR"]
    assert any("RuntimeError: a bug" in line.get("exc_info", "") for line in failed)
    assert {line["request_id"] for line in failed} == {answer.headers.get("x-request-id", failed[0]["request_id"])}


async def test_probes_have_no_line_unless_they_fail(lines: io.StringIO) -> None:
    await _get(_service(), "/healthz")
    assert _logged(lines) == []
    await _get(_service(), "/nowhere")
    assert _logged(lines)[-1]["status"] == 404


@pytest.mark.parametrize(("logged", "paths"), [("failed", ["/nowhere"]), ("none", [])])
async def test_lines_of_requests_can_be_had_for_failures_alone_or_not_at_all(
    lines: io.StringIO, logged: str, paths: list[str]
) -> None:
    app = _service(logged)
    await _get(app, "/good")
    await _get(app, "/nowhere")
    assert [line["path"] for line in _logged(lines) if "path" in line] == paths


def test_a_client_sends_request_ids_and_reports_the_id_of_a_failed_call(monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requested.append(request)
        problem = {"type": "t", "title": "T", "status": 503, "detail": "d", "code": "store_unavailable"}
        name = request.headers["x-request-id"]
        return httpx.Response(503, json=problem, headers={"X-Request-Id": name})

    with SearchClient("http://service") as client:
        monkeypatch.setattr(
            client, "_http", httpx.Client(transport=httpx.MockTransport(answer), base_url="http://service")
        )
        with pytest.raises(ServiceError) as failed:
            client.encoder()
    assert failed.value.request_id == requested[0].headers["x-request-id"]
    assert len(failed.value.request_id) == 32


# A tracer provider belongs to a whole process, so the service runs in a separate one.
SERVICE = """
import asyncio, contextlib, json, sys
import httpx
from fastapi import FastAPI
from opentelemetry import trace
from aff_client.answers import call_headers
from aff_shared.web.settings import ListenSettings
from aff_shared.web.settings import ObserveSettings
from aff_shared.web.service import create_service
from aff_shared.web.observability import configure_tracing, span

@contextlib.asynccontextmanager
async def nothing(app):
    yield

async def main(endpoint):
    observe = ObserveSettings(otlp_endpoint=endpoint)
    configure_tracing(observe, "query_api")
    listen = ListenSettings(port=0, max_body_bytes=10, body_timeout_s=1, observe=observe)
    app = create_service(title="t", description="d", version="1", lifespan=nothing, listen=listen)

    @app.get("/images/{item_id}")
    async def image(item_id: str) -> int:
        with span("search the store"):
            return 1

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        with trace.get_tracer("caller").start_as_current_span("call"):
            await client.get("/images/7", headers=call_headers())
    trace.get_tracer_provider().shutdown()

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    received: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_a_trace_spans_the_caller_the_service_and_the_store(
    collector: tuple[str, list[tuple[str, bytes]]],
) -> None:
    endpoint, received = collector
    subprocess.run([sys.executable, "-c", SERVICE, endpoint], check=True, timeout=60)
    spans, services = {}, set()
    for path, body in received:
        assert path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        for resource in request.resource_spans:
            services |= {one.value.string_value for one in resource.resource.attributes if one.key == "service.name"}
            for scope in resource.scope_spans:
                spans |= {one.name: one for one in scope.spans}
    assert services == {"query_api"}
    assert {"call", "GET /images/{item_id}", "search the store"} <= set(spans)  # FastAPI adds further ones
    assert spans["GET /images/{item_id}"].parent_span_id == spans["call"].span_id
    above = {one.span_id: one.parent_span_id for one in spans.values()}
    ancestor = spans["search the store"].span_id
    while ancestor != spans["GET /images/{item_id}"].span_id:
        ancestor = above[ancestor]
    assert len({one.trace_id for one in spans.values()}) == 1
    attributes = {one.key: one.value for one in spans["GET /images/{item_id}"].attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["http.route"].string_value == "/images/{item_id}"
