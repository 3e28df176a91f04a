from __future__ import annotations

import pytest

from aff_shared.errors import RateLimitedError
from aff_shared.web.middleware.rate_limit import RateLimit


def test_a_minutes_worth_may_come_at_once_and_fills_again_evenly() -> None:
    now = 100.0
    limit = RateLimit(6, clock=lambda: now)
    for _ in range(6):
        limit.take()
    with pytest.raises(RateLimitedError) as refused:
        limit.take()
    assert refused.value.headers == {"Retry-After": "10"}
    now += 9.9
    with pytest.raises(RateLimitedError) as refused:
        limit.take()
    assert refused.value.headers == {"Retry-After": "1"}
    now += 0.2
    limit.take()
    now += 3600
    for _ in range(6):
        limit.take()
    with pytest.raises(RateLimitedError):
        limit.take()
