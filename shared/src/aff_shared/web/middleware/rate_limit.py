"""How many requests a key may make."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from aff_shared.errors import RateLimitedError


class RateLimit:
    """A token bucket: a minute's worth of requests may come at once, and fills again evenly.

    Args:
        per_minute: Requests.
        clock: Seconds that never go back.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._left = float(per_minute)
        self._seen = clock()

    def take(self) -> None:
        """Take one request.

        Raises:
            RateLimitedError: There is none left; tells when there is.
        """
        now, per_s = self._clock(), self._per_minute / 60
        self._left = min(self._per_minute, self._left + per_s * (now - self._seen))
        self._seen = now
        if self._left < 1:
            wait_s = math.ceil((1 - self._left) / per_s)
            raise RateLimitedError(f"the key's limit is {self._per_minute} requests a minute", retry_after_s=wait_s)
        self._left -= 1
