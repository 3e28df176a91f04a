"""Traces that leave the process by OTLP, received by a real HTTP server."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

# A tracer provider belongs to a whole process, so the service runs in one of its own.
SERVICE = """
import asyncio, contextlib, json, sys
import httpx
from fastapi import FastAPI
from opentelemetry import trace
from aff_client.answers import call_headers
from aff_shared.web.listen_settings import ListenSettings
from aff_shared.web.observe_settings import ObserveSettings
from aff_shared.web.service import create_service
from aff_shared.web.tracing import configure_tracing, span

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


def test_a_trace_goes_from_the_caller_through_the_service_to_the_store(
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
    assert {"call", "GET /images/{item_id}", "search the store"} <= set(spans)  # FastAPI adds some of its own
    assert spans["GET /images/{item_id}"].parent_span_id == spans["call"].span_id
    above = {one.span_id: one.parent_span_id for one in spans.values()}
    ancestor = spans["search the store"].span_id
    while ancestor != spans["GET /images/{item_id}"].span_id:
        ancestor = above[ancestor]
    assert len({one.trace_id for one in spans.values()}) == 1
    attributes = {one.key: one.value for one in spans["GET /images/{item_id}"].attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["http.route"].string_value == "/images/{item_id}"
