"""Creates the application of a service with access control, errors, limits, metrics and liveness."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, ProcessCollector, generate_latest
from starlette.middleware import Middleware
from starlette.types import Lifespan

from aff_shared.schemas.service import REQUEST_ID_HEADER, Health
from aff_shared.store.retry import store_failures
from aff_shared.web.access_control import AccessControl
from aff_shared.web.body_limits import BodyLimits, ByteBudget
from aff_shared.web.documentation import install_documentation
from aff_shared.web.middleware import Methods, RaiseRejected, RootPath, SecurityHeaders, TrailingSlashes
from aff_shared.web.observability import RequestLog, RequestMetrics, TraceRequests
from aff_shared.web.problems import AnswerErrors, install_problem_handlers, problem_responses
from aff_shared.web.routing import document_access, scoped_router
from aff_shared.web.settings import ListenSettings, Scope


def create_service(
    *,
    title: str,
    description: str,
    version: str,
    lifespan: Lifespan[FastAPI],
    listen: ListenSettings,
    middleware: Sequence[Middleware] = (),
) -> FastAPI:
    """Create an application with `GET /healthz` and `GET /metrics`, which answers every error with problem details.

    Args:
        title: Name of the service in its OpenAPI document.
        description: Description in the OpenAPI document.
        version: Version of the service.
        lifespan: Opens and closes the components of the routes.
        listen: Server and access settings.
        middleware: Innermost middleware, specific to the service.

    Returns:
        The application; `app.state.registry` is its own Prometheus registry, where the service puts its own
        metrics, and `app.state.access` the access control of the routes of `scoped_router`.

    Raises:
        AccessSettingsError: The service would be reachable from other machines without keys or anonymous scopes.
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
        docs_url=None,
        redoc_url=None,
    )
    app.state.registry = _registry()
    app.state.access = AccessControl(listen.access, listen.host)
    install_problem_handlers(app, app.state.registry)
    document_access(app)
    install_documentation(app)
    app.add_middleware(
        BodyLimits,
        max_bytes=listen.max_body_bytes,
        timeout_s=listen.body_timeout_s,
        budget=_byte_budget(listen, app.state.registry),
    )
    app.add_middleware(RaiseRejected)
    app.add_middleware(AnswerErrors)
    app.add_middleware(Methods)
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
    app.add_middleware(TrailingSlashes)
    if listen.root_path:
        app.add_middleware(RootPath, root_path=listen.root_path)
    app.add_api_route("/healthz", healthz, tags=["operation"])
    figures = scoped_router(Scope.METRICS)
    figures.add_api_route("/metrics", metrics, tags=["operation"], response_class=PlainTextResponse)
    app.include_router(figures)
    return app


async def healthz() -> Health:
    """Report that the process is running."""
    return Health()


async def metrics(request: Request) -> PlainTextResponse:
    """Return the metrics of the service in Prometheus' text format."""
    return PlainTextResponse(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(store_failures)
    return registry


def _byte_budget(listen: ListenSettings, registry: CollectorRegistry) -> ByteBudget:
    budget = ByteBudget(listen.max_queued_requests, listen.max_queued_bytes)
    held = Gauge("aff_http_queued_bytes", "Bytes of request bodies in progress.", registry=registry)
    held.set_function(lambda: budget.held_bytes)
    return budget


def _operation_id(route: APIRoute) -> str:
    return route.name
