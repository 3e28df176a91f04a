from __future__ import annotations

import threading

import httpx
import pytest

from aff_client import ForeignAnswerError, ServiceError, ServiceUnreachableError
from aff_client.retries import patiently
from aff_shared.schemas.problem import Problem


def problem(code: str, retry_after_s: float = 0.0) -> ServiceError:
    found = Problem(type="about:blank", title=code, status=503, detail=code, code=code)
    return ServiceError(found, retry_after_s=retry_after_s)


def foreign(status: int, **headers: str) -> ForeignAnswerError:
    return ForeignAnswerError(httpx.Response(status, headers=headers, html="<html></html>"), "http://indexer")


UNREACHABLE = ServiceUnreachableError("no answer")


class Call:
    """Raises the given errors one after the other, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    def __call__(self) -> str:
        if self._errors:
            raise self._errors.pop(0)
        return "answer"


class Stop(threading.Event):
    """Records the requested pauses without pausing."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timeout)
        return self.is_set()


@pytest.mark.parametrize(
    "error",
    [
        UNREACHABLE,
        *map(
            problem, ("service_overloaded", "rate_limited", "store_throttled", "store_unavailable", "service_not_ready")
        ),
        *map(foreign, (429, 502, 503, 504)),
    ],
)
def test_what_passes_is_waited_for_with_growing_pauses(error: Exception) -> None:
    stop = Stop()
    assert patiently(Call(*[error] * 8), give_up_after_s=1000.0, stop=stop) == "answer"
    for pause, longest in zip(stop.pauses, (0.5, 1, 2, 4, 8, 16, 30, 30), strict=True):
        assert longest / 2 <= pause <= longest


def test_no_pause_is_shorter_than_the_service_requests() -> None:
    stop = Stop()
    patiently(Call(problem("service_overloaded", retry_after_s=7.0)), give_up_after_s=1000.0, stop=stop)
    assert stop.pauses == [7.0]


def test_one_that_is_missing_may_fail_at_once_while_one_that_is_busy_is_waited_for() -> None:
    stop = Stop()
    for error in (UNREACHABLE, foreign(502)):
        with pytest.raises(ServiceUnreachableError):
            patiently(Call(error), give_up_after_s=1000.0, stop=stop, away=False)
    assert stop.pauses == []
    patiently(Call(problem("rate_limited", retry_after_s=7.0)), give_up_after_s=1000.0, stop=stop, away=False)
    assert stop.pauses == [7.0]


@pytest.mark.parametrize("code", ["embedding_space_mismatch", "items_invalid"])
def test_what_waiting_does_not_help_is_raised_at_once(code: str) -> None:
    stop = Stop()
    with pytest.raises(ServiceError):
        patiently(Call(problem(code)), give_up_after_s=1000.0, stop=stop)
    assert stop.pauses == []


def test_a_proxy_may_request_a_pause_too() -> None:
    stop = Stop()
    patiently(Call(foreign(503, **{"Retry-After": "9"})), give_up_after_s=1000.0, stop=stop)
    assert stop.pauses == [9.0]


@pytest.mark.parametrize("status", [200, 301, 401, 403, 404, 413, 500])
def test_what_else_a_proxy_answers_is_raised_at_once(status: int) -> None:
    stop = Stop()
    with pytest.raises(ForeignAnswerError, match=f"answers {status}"):
        patiently(Call(foreign(status)), give_up_after_s=1000.0, stop=stop)
    assert stop.pauses == []


def test_patience_ends() -> None:
    with pytest.raises(ServiceUnreachableError):
        patiently(Call(*[UNREACHABLE] * 100), give_up_after_s=0.05, stop=threading.Event())


def test_a_stop_ends_the_waiting() -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(ServiceUnreachableError):
        patiently(Call(UNREACHABLE), give_up_after_s=1000.0, stop=stop)
