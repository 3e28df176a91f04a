"""The frame of a service: errors, limits, metrics and liveness; the routes of its own come on top."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.types import Lifespan

from aff_contracts.schemas.health import Health
from aff_contracts.web.body_limit import BodyLimit
from aff_contracts.web.body_timeout import BodyTimeout
from aff_contracts.web.metrics import RequestMetrics
from aff_contracts.web.problems import install_problem_handlers, problem_responses


def create_service(
    *,
    title: str,
    description: str,
    version: str,
    lifespan: Lifespan[FastAPI],
    max_body_bytes: int,
    body_timeout_s: float,
) -> FastAPI:
    """Make an application that answers `GET /healthz` and `GET /metrics`, and every error with a problem.

    Args:
        title: Name of the service in its OpenAPI document.
        description: One paragraph of it.
        version: Version of the service.
        lifespan: Opens and closes what the routes need.
        max_body_bytes: Larger request bodies are refused.
        body_timeout_s: Longest time in which a body has to arrive.

    Returns:
        The application; `app.state.registry` is its own Prometheus registry, where the service puts its own
        metrics.
    """
    app = FastAPI(
        title=title,
        description=description,
        version=version,
        lifespan=lifespan,
        responses=problem_responses(),
        generate_unique_id_function=_operation_id,
    )
    app.state.registry = CollectorRegistry()
    install_problem_handlers(app)
    app.add_middleware(BodyTimeout, timeout_s=body_timeout_s)
    app.add_middleware(BodyLimit, max_body_bytes=max_body_bytes)
    app.add_middleware(RequestMetrics, registry=app.state.registry)
    app.add_api_route("/healthz", healthz, tags=["operation"])
    app.add_api_route("/metrics", metrics, tags=["operation"], response_class=PlainTextResponse)
    return app


async def healthz() -> Health:
    """Say that the process runs."""
    return Health()


async def metrics(request: Request) -> PlainTextResponse:
    """Give the service's metrics in Prometheus' text format."""
    return PlainTextResponse(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


def _operation_id(route: APIRoute) -> str:
    return route.name
