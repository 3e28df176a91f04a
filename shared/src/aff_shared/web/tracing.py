"""Traces by OpenTelemetry, from the caller through the service to the store; none unless the settings say where to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, StatusCode
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aff_shared.errors import MissingExtraError
from aff_shared.web.observe_settings import ObserveSettings

_tracer = trace.get_tracer("aff")


def configure_tracing(settings: ObserveSettings, service: str) -> None:
    """Send this process's traces to the settings' endpoint, where there is one.

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
    """Trace what runs inside the context as a part of the request."""
    with _tracer.start_as_current_span(name):
        yield


class TraceRequests:
    """ASGI middleware: a request is a span, below that of its caller."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
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
