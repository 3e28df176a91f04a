"""What a service answers, or why it does not."""

from __future__ import annotations

import os
from typing import NoReturn

import httpx
from opentelemetry import propagate
from pydantic import ValidationError

from aff_contracts.errors import AffError
from aff_contracts.schemas.problem import Problem
from aff_contracts.web.request_id import REQUEST_ID_HEADER, current_request_id, new_request_id

# A proxy of the environment cannot reach the services of this machine.
DIRECT = ("all://127.0.0.1", "all://localhost", "all://[::1]")


class ServiceError(AffError):
    """A service answered with a problem.

    Attributes:
        problem: What it said.
        request_id: Of the request, in the service's log.
        retry_after_s: Seconds after which it asks to be asked again; 0 where it does not.
    """

    code = "service_problem"
    title = "The service refused the request"

    def __init__(self, problem: Problem, *, retry_after_s: float = 0.0, request_id: str = "") -> None:
        super().__init__(f"{problem.detail} ({problem.status} {problem.code})", item=problem.item)
        self.problem = problem
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class ServiceUnreachableError(AffError):
    """No service answers at that address."""

    code = "service_unreachable"
    status = 503
    title = "Service unreachable"


def key_header(key: str | None) -> dict[str, str]:
    """Return the header that brings a key; None takes that of the environment's AFF_API_KEY, where there is one."""
    key = key or os.environ.get("AFF_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}


def call_headers() -> dict[str, str]:
    """Return the headers of one call: the id under which the service logs it, and the trace that it belongs to."""
    headers = {REQUEST_ID_HEADER: current_request_id.get() or new_request_id()}
    propagate.inject(headers)
    return headers


def content_of(answer: httpx.Response, url: str) -> bytes:
    """Return the body of a good answer.

    Args:
        answer: Of a service.
        url: Of the service, for errors.

    Raises:
        ServiceError: The service refused the request.
        ServiceUnreachableError: That is no answer of one of ours.
    """
    if answer.is_success:
        return answer.content
    retry_after = answer.headers.get("retry-after", "")
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError as error:
        raise ServiceUnreachableError(f"answers {answer.status_code}, not as one of ours", item=url) from error
    wait_s = float(retry_after) if retry_after.isdecimal() else 0.0
    raise ServiceError(problem, retry_after_s=wait_s, request_id=answer.headers.get(REQUEST_ID_HEADER, ""))


def raise_unreachable(error: httpx.HTTPError, url: str) -> NoReturn:
    """Say that there was no answer.

    Raises:
        ServiceUnreachableError: Always.
    """
    reason = str(error) or type(error).__name__
    raise ServiceUnreachableError(f"no answer ({reason}); is `aff serve` running?", item=url) from error
