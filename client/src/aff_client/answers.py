"""Responses of a service, errors, and its URL."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NoReturn, TypeVar

import httpx
from pydantic import ValidationError

from aff_shared.errors import AffError, KeyInvalidError
from aff_shared.schemas.problem import Problem, problem_of
from aff_shared.schemas.service import REQUEST_ID_HEADER, current_request_id, new_request_id
from aff_shared.schemas.text_forms import NEEDED, checked_http_url

_Answer = TypeVar("_Answer")

DISCONNECTED = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""Raised where a connection ended before its answer: a server, or a proxy, may close an idle one at any time."""

LINES = "application/x-ndjson"
"""Media type of a response that is a line of JSON for each result."""

_KEY_SETTING = "AFF_API_KEY"

# A proxy of the environment cannot reach the services of this machine.
DIRECT = ("all://127.0.0.1", "all://localhost", "all://[::1]")


class ServiceError(AffError):
    """A service answered with a problem.

    Attributes:
        problem: Problem details of the response.
        request_id: Id of the request in the service's log.
        retry_after_s: Value of `Retry-After` in seconds; 0 without one.
    """

    code = "service_problem"
    title = "The service rejected the request"

    def __init__(self, problem: Problem, *, retry_after_s: float = 0.0, request_id: str = "") -> None:
        super().__init__(f"{problem.detail} ({problem.status} {problem.code})", item=problem.item)
        self.problem = problem
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class NotFoundError(ServiceError):
    """The gallery has no such image, collection, job or backup (404)."""

    code = "service_not_found"


class AccessError(ServiceError):
    """The key is missing, unknown, or lacks the permission (401, 403)."""

    code = "service_access"


class BusyError(ServiceError):
    """The service is overloaded, limits the rate, or is not ready (429, 503); `retry_after_s` is the wait."""

    code = "service_busy"


_BY_STATUS = {401: AccessError, 403: AccessError, 404: NotFoundError, 429: BusyError, 503: BusyError}


class ServiceUnreachableError(AffError):
    """No service answers at that address."""

    code = "service_unreachable"
    status = 503
    title = "Service unreachable"


class ForeignAnswerError(ServiceUnreachableError):
    """Something other than the service responded: a proxy, or another server at its address.

    Attributes:
        problem: Status and description of the response.
        retry_after_s: Value of `Retry-After` in seconds; 0 without one.
    """

    code = "foreign_answer"
    status = HTTPStatus.BAD_GATEWAY
    title = "Not an answer of the service"

    def __init__(self, answer: httpx.Response, url: str) -> None:
        super().__init__(_described(answer), item=url)
        self.problem = problem_of(self, local=True).model_copy(update={"status": answer.status_code})
        self.retry_after_s = _retry_after_s(answer)


def key_header(key: str | None) -> dict[str, str]:
    """Return the header with a key; None uses the environment variable AFF_API_KEY, if it is set.

    Raises:
        KeyInvalidError: The key has characters that headers cannot contain, such as accents or line breaks.
    """
    item = _KEY_SETTING if not key else "key"
    key = (key or os.environ.get(_KEY_SETTING, "")).strip()
    if not (key.isascii() and key.isprintable()):
        raise KeyInvalidError(
            "has characters that keys cannot contain; `aff keys new` makes keys of ASCII letters", item=item
        )
    return {"Authorization": f"Bearer {key}"} if key else {}


def call_headers() -> dict[str, str]:
    """Return the headers of one call: its id in the service's log, and its trace if the process uses OpenTelemetry."""
    headers = {REQUEST_ID_HEADER: current_request_id.get() or new_request_id()}
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry import propagate  # noqa: PLC0415 - not a dependency

        propagate.inject(headers)
    return headers


def read_answer(answer: httpx.Response, url: str, read: Callable[[bytes], _Answer]) -> _Answer:
    """Return the parsed body of a successful response.

    Args:
        answer: Response of a service.
        url: URL of the service, for errors.
        read: Parser of the body; raises ValidationError if the body has another form.

    Raises:
        ServiceError: The service rejected the request; a subclass for some statuses.
        ForeignAnswerError: The response does not come from one of this project's services.
    """
    try:
        if answer.is_success and "html" not in answer.headers.get("content-type", ""):
            return read(answer.content)
        problem = Problem.model_validate_json(answer.content)
    except ValidationError as error:
        raise ForeignAnswerError(answer, url) from error
    request_id = answer.headers.get(REQUEST_ID_HEADER, "")
    raise service_error(problem)(problem, retry_after_s=_retry_after_s(answer), request_id=request_id)


def has_lines(answer: httpx.Response) -> bool:
    """Return whether the body of a response is lines of JSON."""
    kind: str = answer.headers.get("content-type", "")
    return kind.partition(";")[0].strip() == LINES


def service_error(problem: Problem) -> type[ServiceError]:
    """Return the class of the error for a problem."""
    return _BY_STATUS.get(problem.status, ServiceError)


def raise_unreachable(error: httpx.HTTPError, url: httpx.URL) -> NoReturn:
    """Raise the error for a request without a response.

    Args:
        error: Cause.
        url: URL of the service.

    Raises:
        ServiceUnreachableError: Always; it names host and port.
    """
    port = url.port or (443 if url.scheme == "https" else 80)
    host = f"[{url.host}]" if ":" in url.host else url.host
    reason = str(error) or type(error).__name__
    detail = f"no answer from {host}:{port} ({reason}); is `aff serve` running?"
    raise ServiceUnreachableError(detail, item=str(url)) from error


def _described(answer: httpx.Response) -> str:
    kind = answer.headers.get("content-type", "no type").partition(";")[0]
    server = f" from {answer.headers['server']}" if "server" in answer.headers else ""
    elsewhere = f"; it points to {answer.headers['location']}" if "location" in answer.headers else ""
    return (
        f"answers {answer.status_code} {answer.reason_phrase}".rstrip()
        + f", which is not a response of this service ({kind}{server}){elsewhere}"
    )


def _retry_after_s(answer: httpx.Response) -> float:
    """Return the seconds of the header Retry-After, which may hold a date; 0 without one."""
    given = answer.headers.get("retry-after", "")
    if given.isdecimal():
        return float(given)
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
    except ValueError:
        return 0.0


class ServiceUrlError(AffError):
    """The given address of a service is not a URL."""

    code = "service_url_invalid"
    status = 422
    title = "Not the URL of a service"


def service_url(given: str) -> httpx.URL:
    """Return the URL of a service.

    Args:
        given: Address such as `http://127.0.0.1:8001`, or with a path, `https://shop.example/photos`.

    Raises:
        ServiceUrlError: The address is not a URL.
    """
    try:
        url = httpx.URL(checked_http_url(given))
        assert url.host, "an international name is decoded now, and not in the middle of an error"
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ServiceUrlError(NEEDED, item=given) from error
    except ValueError as error:
        raise ServiceUrlError(str(error), item=given) from error
    return url
