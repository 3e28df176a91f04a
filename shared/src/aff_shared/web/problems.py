"""Every failure of a request becomes problem details (RFC 9457), here and nowhere else."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatch
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry, Counter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aff_shared.errors import (
    AffError,
    BodyTimeoutError,
    BodyTooLargeError,
    ConnectionLimitError,
    ContentEncodingError,
    HeadTimeoutError,
    HeadTooLargeError,
    HostRefusedError,
    InvalidParameterError,
    KeyInvalidError,
    KeyMissingError,
    OriginRefusedError,
    RateLimitedError,
    RequestError,
    ScopeMissingError,
    ServiceOverloadedError,
)
from aff_shared.schemas.problem import PROBLEM_MEDIA_TYPE, Problem, problem_of
from aff_shared.web.routing import document_schemas, reference

_ANY_ROUTE: tuple[type[AffError], ...] = (
    RequestError,
    InvalidParameterError,
    HeadTimeoutError,
    HeadTooLargeError,
    BodyTimeoutError,
    BodyTooLargeError,
    ContentEncodingError,
    KeyMissingError,
    KeyInvalidError,
    ScopeMissingError,
    OriginRefusedError,
    HostRefusedError,
    RateLimitedError,
    ServiceOverloadedError,
    ConnectionLimitError,
    AffError,
)

logger = logging.getLogger(__name__)


class ProblemResponse(Response):
    """An answer whose body is a problem."""

    media_type = PROBLEM_MEDIA_TYPE

    def __init__(self, content: Problem, status_code: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status_code, headers)
        self._code = content.code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, and count it by its code."""
        self.count(scope)
        await super().__call__(scope, receive, send)

    def count(self, scope: Scope) -> None:
        """Count the problem by its code."""
        scope["app"].state.problems.labels(self._code).inc()

    def render(self, content: Problem) -> bytes:
        """Encode as ASCII JSON: a name sent by a caller may hold characters that UTF-8 cannot encode."""
        return json.dumps(content.model_dump()).encode("ascii")


class AnswerErrors:
    """ASGI middleware: answers errors of inner middleware, and unexpected exceptions.

    Starlette would answer outside of all middleware, where the request has no id. A response that has started
    is cut off: nothing else shows its receiver that it is incomplete.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:
            if scope["type"] != "http":
                raise
            answer = await _answer(Request(scope), error)
            if started:
                answer.count(scope)  # without its end, the server cuts the answer off
            else:
                await answer(scope, receive, send)


def install_problem_handlers(app: FastAPI, registry: CollectorRegistry) -> None:
    """Answer every exception that leaves a route with a problem, and document the schema of the answers.

    Args:
        app: Application.
        registry: Registry of the counter.
    """
    app.state.problems = Counter("aff_http_problems", "Answers that were problems.", ("code",), registry=registry)
    for error_class in (AffError, RequestValidationError, HTTPException, ClientDisconnect):
        app.add_exception_handler(error_class, _answer)
    document_schemas(app, Problem)


def problem_responses(*error_classes: type[AffError]) -> dict[int | str, dict[str, Any]]:
    """Document the problems of a route, for its `responses`.

    Args:
        error_classes: Errors that the route may raise; a class includes its subclasses. Errors that any
            route may raise are always included.

    Returns:
        OpenAPI response objects by status; the description lists the codes.
    """
    possible = [*_ANY_ROUTE, *(member for branch in error_classes for member in _branch(branch))]
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for error_class in dict.fromkeys(possible):
        by_status[error_class.status].append(f"`{error_class.code}` ({error_class.title})")
    schema = reference(Problem)
    return {
        status: {"description": ", ".join(dict.fromkeys(codes)), "content": {PROBLEM_MEDIA_TYPE: {"schema": schema}}}
        for status, codes in sorted(by_status.items())
    }


def _branch(error_class: type[AffError]) -> Iterator[type[AffError]]:
    yield error_class
    for child in error_class.__subclasses__():
        yield from _branch(child)


async def _answer(request: Request, error: Exception) -> ProblemResponse:
    # FastAPI reports every error while it reads a body as status 400; the cause has the actual status.
    if isinstance(error, HTTPException) and isinstance(error.__cause__, AffError | ClientDisconnect):
        error = error.__cause__
    problem = _describe(error)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    return ProblemResponse(problem, problem.status, headers=getattr(error, "headers", None))


@singledispatch
def _describe(_: Exception) -> Problem:
    return problem_of(AffError("The service failed on this request; its log has the cause."))


@_describe.register
def _(error: AffError) -> Problem:
    return problem_of(error)


@_describe.register
def _(_: ClientDisconnect) -> Problem:
    return problem_of(RequestError("the connection was closed before the body had ended"))


@_describe.register
def _(error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    reason = first.get("ctx", {}).get("error")
    detail = f"{first['msg']}: {reason}" if first["type"] == "json_invalid" else first["msg"]
    return problem_of(InvalidParameterError(detail, item=_parameter_name(first["loc"])))


@_describe.register
def _(error: HTTPException) -> Problem:
    if error.status_code == HTTPStatus.BAD_REQUEST:
        return problem_of(RequestError(error.detail))
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    return Problem(
        type=f"urn:aff:problem:{code}",
        title=phrase,
        status=error.status_code,
        detail=error.detail,
        code=code,
    )


def _parameter_name(location: Sequence[str | int]) -> str:
    """Name the parameter: ("query", "limit") is `limit`, ("body", 17), a position in a text, is `body`."""
    inner = location[1:]
    named = inner if any(isinstance(part, str) for part in inner) else location[:1]
    return ".".join(str(part) for part in named)
