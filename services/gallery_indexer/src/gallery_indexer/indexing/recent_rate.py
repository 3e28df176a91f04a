"""How many events a second there were lately."""

from __future__ import annotations

import time
from collections import deque

_WINDOW_S = 60


class RecentRate:
    """Counts events by seconds, and forgets them after a minute."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._seconds: deque[tuple[int, int]] = deque(maxlen=_WINDOW_S + 1)

    def count(self) -> None:
        """Count an event now."""
        second = int(time.monotonic())
        if self._seconds and self._seconds[-1][0] == second:
            second, events = self._seconds.pop()
            self._seconds.append((second, events + 1))
        else:
            self._seconds.append((second, 1))

    def per_s(self) -> float:
        """Return the mean of the last minute, or of the time since the start where that is shorter."""
        now = time.monotonic()
        events = sum(events for second, events in self._seconds if second > now - _WINDOW_S)
        return events / min(_WINDOW_S, max(1.0, now - self._started))
