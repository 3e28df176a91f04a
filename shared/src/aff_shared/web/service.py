"""The frame of a service: access, errors, limits, metrics and liveness; the routes of its own come on top."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, ProcessCollector, generate_latest
from starlette.middleware import Middleware
from starlette.types import Lifespan

from aff_shared.schemas.health import Health
from aff_shared.store.store_metrics import store_failures
from aff_shared.web.access_settings import Scope
from aff_shared.web.byte_budget import ByteBudget
from aff_shared.web.listen_settings import ListenSettings
from aff_shared.web.metrics import RequestMetrics
from aff_shared.web.middleware.access_control import AccessControl
from aff_shared.web.middleware.body_admission import BodyAdmission
from aff_shared.web.middleware.body_limit import BodyLimit
from aff_shared.web.middleware.body_timeout import BodyTimeout
from aff_shared.web.middleware.content_encoding import RefuseContentEncoding
from aff_shared.web.middleware.head_requests import HeadRequests
from aff_shared.web.middleware.refused_requests import RaiseRefused
from aff_shared.web.middleware.request_log import RequestLog
from aff_shared.web.middleware.security_headers import SecurityHeaders
from aff_shared.web.problems import AnswerErrors, install_problem_handlers, problem_responses
from aff_shared.web.request_id import REQUEST_ID_HEADER
from aff_shared.web.root_path import RootPath
from aff_shared.web.scoped_router import document_access, scoped_router
from aff_shared.web.tracing import TraceRequests


def create_service(
    *,
    title: str,
    description: str,
    version: str,
    lifespan: Lifespan[FastAPI],
    listen: ListenSettings,
    middleware: Sequence[Middleware] = (),
) -> FastAPI:
    """Make an application that answers `GET /healthz` and `GET /metrics`, and every error with a problem.

    Args:
        title: Name of the service in its OpenAPI document.
        description: One paragraph of it.
        version: Version of the service.
        lifespan: Opens and closes what the routes need.
        listen: How the service listens, and who may do what.
        middleware: The service's own, next to its routes.

    Returns:
        The application; `app.state.registry` is its own Prometheus registry, where the service puts its own
        metrics, and `app.state.access` its keys, which the routes of `scoped_router` ask.

    Raises:
        AccessSettingsError: The service would be open to others than this machine, and nothing says that it should.
    """
    app = FastAPI(
        title=title,
        description=description,
        version=version,
        lifespan=lifespan,
        responses=problem_responses(),
        generate_unique_id_function=_operation_id,
        middleware=middleware,
        redirect_slashes=False,
    )
    app.state.registry = _registry()
    app.state.access = AccessControl(listen.access, listen.host)
    install_problem_handlers(app, app.state.registry)
    document_access(app)
    app.add_middleware(BodyAdmission, admission=_admission(listen, app.state.registry))
    app.add_middleware(BodyTimeout, timeout_s=listen.body_timeout_s)
    app.add_middleware(BodyLimit, max_body_bytes=listen.max_body_bytes)
    app.add_middleware(RefuseContentEncoding)
    app.add_middleware(RaiseRefused)
    app.add_middleware(AnswerErrors)
    app.add_middleware(HeadRequests)
    if listen.access.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=listen.access.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["Retry-After", REQUEST_ID_HEADER],
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestMetrics, registry=app.state.registry)
    app.add_middleware(RequestLog, logged=listen.observe.log_requests)
    if listen.observe.otlp_endpoint:
        app.add_middleware(TraceRequests)
    if listen.root_path:
        app.add_middleware(RootPath, root_path=listen.root_path)
    app.add_api_route("/healthz", healthz, tags=["operation"])
    figures = scoped_router(Scope.METRICS)
    figures.add_api_route("/metrics", metrics, tags=["operation"], response_class=PlainTextResponse)
    app.include_router(figures)
    return app


async def healthz() -> Health:
    """Say that the process runs."""
    return Health()


async def metrics(request: Request) -> PlainTextResponse:
    """Give the service's metrics in Prometheus' text format."""
    return PlainTextResponse(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(store_failures)
    return registry


def _admission(listen: ListenSettings, registry: CollectorRegistry) -> ByteBudget:
    admission = ByteBudget(listen.max_queued_requests, listen.max_queued_bytes)
    held = Gauge("aff_http_queued_bytes", "Bytes of the bodies that are worked on now.", registry=registry)
    held.set_function(lambda: admission.held_bytes)
    return admission


def _operation_id(route: APIRoute) -> str:
    return route.name
