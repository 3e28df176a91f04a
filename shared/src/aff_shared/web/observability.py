"""Logs, metrics and traces of requests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from time import perf_counter
from typing import Literal

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aff_shared.errors import MissingExtraError
from aff_shared.schemas.service import REQUEST_ID_HEADER, accepted_request_id, current_request_id
from aff_shared.web.middleware import HttpMiddleware, route_path
from aff_shared.web.settings import ObserveSettings

_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})

_logger = logging.getLogger(__name__)


class RequestLog(HttpMiddleware):
    """ASGI middleware: sets the id of requests, and logs them.

    Args:
        app: Wrapped application.
        logged: `all` (except probes and metrics), `failed` (400 and over), or `none`.
    """

    def __init__(self, app: ASGIApp, *, logged: Literal["all", "failed", "none"]) -> None:
        super().__init__(app)
        self._logged = logged

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See HttpMiddleware."""
        request_id = accepted_request_id(Headers(scope=scope).get(REQUEST_ID_HEADER))
        token = current_request_id.set(request_id)
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)  # status of an exception that is raised here
        complete = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            complete = not message.get("more_body", False) and message["type"] == "http.response.body"
            await send(message)

        path = route_path(scope)
        began = perf_counter()
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._log(scope, path, status, complete, 1000 * (perf_counter() - began))
            current_request_id.reset(token)

    def _log(self, scope: Scope, path: str, status: int, complete: bool, milliseconds: float) -> None:
        failed = status >= HTTPStatus.BAD_REQUEST
        if self._logged == "none" or (not failed and (self._logged == "failed" or path in _PROBES)):
            return
        level = logging.ERROR if status == HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
        fields = {
            "method": scope["method"],
            "path": path,
            "status": status,
            "complete": complete,
            "duration_ms": round(milliseconds, 2),
            "client": scope["client"][0] if scope.get("client") else None,
            "caller": scope.get("state", {}).get("caller"),
        }
        _logger.log(level, "%s %s %d", scope["method"], path, status, extra=fields)


LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics(HttpMiddleware):
    """ASGI middleware: counts requests, times them, and counts those in flight.

    Labels are the route's template and a known method, never values that a caller can choose, so their number
    is bounded.
    """

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry) -> None:
        super().__init__(app)
        self._requests = Counter(
            "aff_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self._latency = Histogram(
            "aff_http_request_duration_seconds",
            "Time from the request's head to the end of the answer.",
            ("method", "route"),
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._in_flight = Gauge("aff_http_requests_in_flight", "Requests being answered now.", registry=registry)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See HttpMiddleware."""
        status = 500  # status of an exception that is raised here

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = perf_counter()
        with self._in_flight.track_inprogress():
            try:
                await self._app(scope, receive, send_and_note_status)
            finally:
                self._record(scope, status, perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, route, status).inc()
        self._latency.labels(method, route).observe(seconds)


_tracer = trace.get_tracer("aff")


def configure_tracing(settings: ObserveSettings, service: str) -> None:
    """Send this process's traces to the configured endpoint, if one is set.

    Raises:
        MissingExtraError: The exporter is not installed.
    """
    if not settings.otlp_endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("traces need: pip install 'aff-shared[tracing]'") from error
    provider = TracerProvider(
        resource=Resource.create({"service.name": service}), sampler=ParentBasedTraceIdRatio(settings.trace_ratio)
    )
    exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str) -> Iterator[None]:
    """Trace the body of the context as a span of the request."""
    with _tracer.start_as_current_span(name):
        yield


class TraceRequests(HttpMiddleware):
    """ASGI middleware: a request is a span, below that of its caller."""

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See HttpMiddleware."""
        context = propagate.extract(Headers(scope=scope))
        with _tracer.start_as_current_span(scope["method"], context, SpanKind.SERVER) as current:

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    current.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
                        current.set_status(StatusCode.ERROR)
                await send(message)

            await self._app(scope, receive, send_and_note)
            route = getattr(scope.get("route"), "path", "unmatched")
            current.update_name(f"{scope['method']} {route}")
            current.set_attributes(
                {"http.request.method": scope["method"], "http.route": route, "url.path": scope["path"]}
            )
