"""Retries calls of a service that is temporarily unavailable."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from aff_client import ForeignAnswerError, ServiceError, ServiceUnreachableError

_Result = TypeVar("_Result")

_PASSING = frozenset(
    {
        "connection_limit",
        "rate_limited",
        "service_not_ready",
        "service_overloaded",
        "store_throttled",
        "store_unavailable",
    }
)
_PASSING_STATUSES = frozenset({408, 429, 502, 503, 504})  # of a proxy whose service is unavailable, or that is busy
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0

_logger = logging.getLogger(__name__)


def patiently(
    call: Callable[[], _Result], *, give_up_after_s: float, stop: threading.Event, away: bool = True
) -> _Result:
    """Call a function, and retry while the service is unreachable, overloaded, starting, or without its store.

    The pauses double from half a second to 30 seconds, with random jitter, and are at least the service's
    `Retry-After`.

    Args:
        call: Function that is safe to repeat.
        give_up_after_s: Time after the first failure during which to retry, in seconds.
        stop: Event that ends the wait.
        away: Whether to retry if the service is unreachable.

    Raises:
        ServiceError: The service rejected the call permanently, or for too long.
        ForeignAnswerError: Another server answers with an error that is not temporary.
        ServiceUnreachableError: Unreachable for too long.
    """
    pause_s, deadline = _FIRST_PAUSE_S, None
    while True:
        try:
            return call()
        except (ServiceError, ServiceUnreachableError) as error:
            now = time.monotonic()
            deadline = deadline or now + give_up_after_s
            passing = _is_passing(error) and (away or isinstance(error, ServiceError))
            if not passing or now >= deadline or stop.is_set():
                raise
            _logger.warning("waiting: %s", error)
            asked_s = error.retry_after_s if isinstance(error, ServiceError | ForeignAnswerError) else 0.0
            stop.wait(min(deadline - now, max(asked_s, pause_s * random.uniform(0.5, 1.0))))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _is_passing(error: ServiceError | ServiceUnreachableError) -> bool:
    if isinstance(error, ForeignAnswerError):
        return error.problem.status in _PASSING_STATUSES
    return isinstance(error, ServiceUnreachableError) or error.problem.code in _PASSING
