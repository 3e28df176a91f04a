"""Tries again what could not be delivered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aff_contracts.errors import StoreUnavailableError

_Result = TypeVar("_Result")


async def retry_unavailable(
    attempt: Callable[[], Awaitable[_Result]], *, max_retries: int, backoff_s: float
) -> _Result:
    """Await `attempt()`, again after each StoreUnavailableError, and return its result.

    The pause before retry n (from 0) is drawn between half and all of `backoff_s * 2**n`, so that many
    clients that failed together do not come back together.

    Args:
        attempt: Must be safe to repeat: an attempt that timed out may have had its effect.
        max_retries: Attempts after the first.
        backoff_s: Longest pause before the first retry, in seconds.

    Raises:
        StoreUnavailableError: The last attempt failed so, too. Any other error is raised at once.
    """
    for retry in range(max_retries):
        try:
            return await attempt()
        except StoreUnavailableError:
            await asyncio.sleep(backoff_s * 2**retry * random.uniform(0.5, 1.0))
    return await attempt()
