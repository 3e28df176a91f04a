"""Retries calls of a service that is temporarily unavailable."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aff_client.answers import ForeignAnswerError, ServiceError, ServiceUnreachableError

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


class Patience:
    """Length of the pauses between attempts: doubling from half a second to 30 seconds, with random jitter.

    A pause is at least the service's `Retry-After`.

    Args:
        give_up_after_s: Time after the first failure during which to retry, in seconds.
        away: Whether to retry if the service is unreachable.
    """

    def __init__(self, give_up_after_s: float, *, away: bool = True) -> None:
        self._give_up_after_s = give_up_after_s
        self._away = away
        self._pause_s = _FIRST_PAUSE_S
        self._deadline: float | None = None

    def pause_after(self, error: ServiceError | ServiceUnreachableError) -> float:
        """Return the seconds to wait after a failed attempt.

        Raises:
            ServiceError: The error, if it is permanent or the time is up.
            ServiceUnreachableError: The error, if the time is up.
        """
        now = time.monotonic()
        self._deadline = self._deadline or now + self._give_up_after_s
        passing = _is_passing(error) and (self._away or isinstance(error, ServiceError))
        if not passing or now >= self._deadline:
            raise error
        _logger.warning("waiting: %s", error)
        asked_s = error.retry_after_s if isinstance(error, ServiceError | ForeignAnswerError) else 0.0
        pause_s = min(self._deadline - now, max(asked_s, self._pause_s * random.uniform(0.5, 1.0)))
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        return pause_s


def patiently(
    call: Callable[[], _Result], *, give_up_after_s: float, stop: threading.Event | None = None, away: bool = True
) -> _Result:
    """Call a function, and retry while the service is unreachable, overloaded, starting, or without its store.

    Args:
        call: Function that is safe to repeat.
        give_up_after_s: See Patience.
        stop: Event that ends the wait.
        away: See Patience.

    Raises:
        ServiceError: The service rejected the call permanently, or for too long.
        ForeignAnswerError: Another server answers with an error that is not temporary.
        ServiceUnreachableError: Unreachable for too long.
    """
    patience, stop = Patience(give_up_after_s, away=away), stop or threading.Event()
    while True:
        try:
            return call()
        except (ServiceError, ServiceUnreachableError) as error:
            if stop.is_set():
                raise
            stop.wait(patience.pause_after(error))


async def patiently_async(
    call: Callable[[], Awaitable[_Result]], *, give_up_after_s: float, away: bool = True
) -> _Result:
    """Await a call as `patiently` does."""
    patience = Patience(give_up_after_s, away=away)
    while True:
        try:
            return await call()
        except (ServiceError, ServiceUnreachableError) as error:
            await asyncio.sleep(patience.pause_after(error))


def _is_passing(error: ServiceError | ServiceUnreachableError) -> bool:
    if isinstance(error, ForeignAnswerError):
        return error.problem.status in _PASSING_STATUSES
    return isinstance(error, ServiceUnreachableError) or error.problem.code in _PASSING
