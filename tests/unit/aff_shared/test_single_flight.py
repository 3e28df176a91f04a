from __future__ import annotations

import asyncio

import pytest

from aff_shared.errors import StoreUnavailableError
from aff_shared.single_flight import SingleFlight

pytestmark = pytest.mark.anyio


class _Store:
    def __init__(self) -> None:
        self.requested = 0
        self.answers = asyncio.Event()
        self.away = False

    async def ask(self) -> None:
        self.requested += 1
        await self.answers.wait()
        if self.away:
            raise StoreUnavailableError("it does not answer")


async def test_concurrent_callers_share_an_attempt_and_its_failure() -> None:
    store = _Store()
    attempt = SingleFlight(store.ask)
    asking = [asyncio.create_task(attempt.make()) for _ in range(5)]
    await asyncio.sleep(0)
    store.away = True
    store.answers.set()
    assert all(
        isinstance(error, StoreUnavailableError) for error in await asyncio.gather(*asking, return_exceptions=True)
    )
    assert store.requested == 1
    store.away = False
    await attempt.make()
    assert store.requested == 2


async def test_one_who_turns_away_leaves_the_attempt_to_the_others() -> None:
    store = _Store()
    attempt = SingleFlight(store.ask)
    impatient, patient = asyncio.create_task(attempt.make()), asyncio.create_task(attempt.make())
    await asyncio.sleep(0)
    impatient.cancel()
    store.answers.set()
    await patient
    assert store.requested == 1


async def test_an_attempt_that_is_no_longer_needed_can_be_cancelled() -> None:
    store = _Store()
    attempt = SingleFlight(store.ask)
    attempt.cancel()
    asking = asyncio.create_task(attempt.make())
    await asyncio.sleep(0)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_after_a_renewal_earlier_results_are_not_returned() -> None:
    store = _Store()
    attempt = SingleFlight(store.ask)
    before = asyncio.create_task(attempt.make())
    await asyncio.sleep(0)
    attempt.renew()
    after = [asyncio.create_task(attempt.make()) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert store.requested == 2
    store.answers.set()
    await asyncio.gather(before, *after)
    assert store.requested == 2


async def test_every_attempt_is_given_up_at_the_end() -> None:
    attempt = SingleFlight(_Store().ask)
    asking = [asyncio.create_task(attempt.make())]
    await asyncio.sleep(0)
    attempt.renew()
    asking.append(asyncio.create_task(attempt.make()))
    await asyncio.sleep(0.01)
    attempt.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*asking, return_exceptions=True))
