from __future__ import annotations

import asyncio

import pytest

from aff_shared.errors import StoreError, StoreRejectedError, StoreThrottledError, StoreUnavailableError
from aff_shared.store.retry import retry_for, retry_unavailable

pytestmark = pytest.mark.anyio


class Attempts:
    """Raises the given errors one after the other, then answers."""

    def __init__(self, *errors: StoreError) -> None:
        self._errors = list(errors)
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self._errors:
            raise self._errors.pop(0)
        return "answer"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The requested pauses, which are not made."""
    asked: list[float] = []

    async def sleep(seconds: float) -> None:
        asked.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return asked


async def test_an_answer_at_once_needs_no_pause(pauses: list[float]) -> None:
    attempts = Attempts()
    assert await retry_unavailable(attempts, max_retries=3, backoff_s=1.0) == "answer"
    assert (attempts.made, pauses) == (1, [])


async def test_pauses_double_and_jitter_takes_up_to_half_of_them(pauses: list[float]) -> None:
    attempts = Attempts(*(StoreUnavailableError("down") for _ in range(3)))
    assert await retry_unavailable(attempts, max_retries=3, backoff_s=1.0) == "answer"
    assert attempts.made == 4
    for pause, longest in zip(pauses, [1.0, 2.0, 4.0], strict=True):
        assert longest / 2 <= pause <= longest


async def test_the_last_failure_is_raised(pauses: list[float]) -> None:
    attempts = Attempts(*(StoreUnavailableError(f"down {number}") for number in range(9)))
    with pytest.raises(StoreUnavailableError, match="down 2"):
        await retry_unavailable(attempts, max_retries=2, backoff_s=0.0)
    assert attempts.made == 3


async def test_a_rejection_is_raised_at_once(pauses: list[float]) -> None:
    attempts = Attempts(StoreRejectedError("no"))
    with pytest.raises(StoreRejectedError):
        await retry_unavailable(attempts, max_retries=5, backoff_s=1.0)
    assert (attempts.made, pauses) == (1, [])


async def test_an_outage_is_waited_out(pauses: list[float]) -> None:
    attempts = Attempts(*(StoreUnavailableError("away") for _ in range(6)))
    assert await retry_for(attempts, wait_s=60.0) == "answer"
    for pause, longest in zip(pauses, (0.5, 1.0, 2.0, 4.0, 5.0, 5.0), strict=True):
        assert longest / 2 <= pause <= longest


async def test_an_outage_that_lasts_too_long_is_raised_after_a_last_attempt() -> None:
    attempts = Attempts(*(StoreUnavailableError(f"away {number}") for number in range(100)))
    with pytest.raises(StoreUnavailableError):
        await retry_for(attempts, wait_s=0.05)
    assert attempts.made == 2


async def test_an_outage_without_patience_is_raised_at_once(pauses: list[float]) -> None:
    attempts = Attempts(StoreUnavailableError("away"))
    with pytest.raises(StoreUnavailableError):
        await retry_for(attempts, wait_s=0.0)
    assert pauses == []


async def test_a_rejection_is_never_waited_for(pauses: list[float]) -> None:
    with pytest.raises(StoreRejectedError):
        await retry_for(Attempts(StoreRejectedError("no")), wait_s=60.0)
    assert pauses == []


async def test_a_rate_limit_is_not_retried_immediately(pauses: list[float]) -> None:
    attempts = Attempts(StoreThrottledError("slow down", retry_after_s=16))
    with pytest.raises(StoreThrottledError):
        await retry_unavailable(attempts, max_retries=3, backoff_s=1.0)
    assert (attempts.made, pauses) == (1, [])


async def test_a_rate_limit_is_waited_for_as_long_as_it_requires(pauses: list[float]) -> None:
    attempts = Attempts(StoreThrottledError("slow down", retry_after_s=16))
    assert await retry_for(attempts, wait_s=60.0) == "answer"
    assert pauses == [16]


async def test_a_rate_limit_that_requires_a_longer_wait_than_allowed_is_raised(pauses: list[float]) -> None:
    with pytest.raises(StoreThrottledError):
        await retry_for(Attempts(StoreThrottledError("slow down", retry_after_s=61)), wait_s=60.0)
    assert pauses == []


async def test_between_different_servers_there_is_no_pause(pauses: list[float]) -> None:
    attempts = Attempts(*(StoreUnavailableError("down") for _ in range(6)))
    assert await retry_unavailable(attempts, max_retries=6, backoff_s=1.0, peers=3) == "answer"
    for pause, longest in zip(pauses, [1.0, 2.0], strict=True):
        assert longest / 2 <= pause <= longest
