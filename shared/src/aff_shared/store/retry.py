"""Retries of calls to the store."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from prometheus_client import Counter

from aff_shared.errors import StoreThrottledError, StoreUnavailableError

_Result = TypeVar("_Result")

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0

_logger = logging.getLogger(__name__)


async def retry_unavailable(
    attempt: Callable[[], Awaitable[_Result]], *, max_retries: int, backoff_s: float, peers: int = 1
) -> _Result:
    """Await `attempt()`, again after each StoreUnavailableError, and return its result.

    The pause before round n of retries (from 0) is drawn between half and all of `backoff_s * 2**n`, so that many
    clients that failed together do not retry together.

    Args:
        attempt: Must be safe to repeat: an attempt that timed out may have had its effect.
        max_retries: Attempts after the first.
        backoff_s: Maximum pause before the first round of retries, in seconds.
        peers: Attempts of a round, which go to different servers and so need no pause between them.

    Raises:
        StoreThrottledError: The server requires a longer wait than a caller accepts; raised immediately.
        StoreUnavailableError: The last attempt failed, too. Any other error is raised immediately.
    """
    for retry in range(max_retries):
        try:
            return await attempt()
        except StoreThrottledError:
            raise
        except StoreUnavailableError as error:
            store_failures.labels(error.code).inc()
            if (retry + 1) % peers == 0:
                await asyncio.sleep(backoff_s * 2 ** (retry // peers) * random.uniform(0.5, 1.0))
    return await attempt()


async def retry_for(attempt: Callable[[], Awaitable[_Result]], *, wait_s: float) -> _Result:
    """Await `attempt()`, again after each StoreUnavailableError for `wait_s` seconds, and return its result.

    The pauses grow from half a second to five, each drawn between half and all of that; where the store names a longer
    one, that is made.

    Args:
        attempt: Must be safe to repeat: an attempt that timed out may have had its effect.
        wait_s: How long to retry after the first failure, in seconds; 0 for a single attempt.

    Raises:
        StoreUnavailableError: The last attempt failed, too, or the store requires a longer pause than is left. Any
            other error is raised immediately.
    """
    pause_s, deadline = _FIRST_PAUSE_S, time.monotonic() + wait_s
    while True:
        try:
            return await attempt()
        except StoreUnavailableError as error:
            store_failures.labels(error.code).inc()
            left_s = deadline - time.monotonic()
            asked_s = error.retry_after_s if isinstance(error, StoreThrottledError) else 0
            if left_s <= asked_s:
                raise
            _logger.warning("waiting for the store: %s", error)
            await asyncio.sleep(min(left_s, max(asked_s, pause_s * random.uniform(0.5, 1.0))))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


store_failures = Counter(
    "aff_store_failures", "Failed calls to the store; each attempt is counted.", ("code",), registry=None
)
