from __future__ import annotations

import pytest

from aff_shared.errors import ServiceOverloadedError
from aff_shared.web.body_limits import ByteBudget


def test_requests_are_admitted_while_their_bytes_fit() -> None:
    admission = ByteBudget(10, 100)
    with admission.place() as first:
        first.take(60)
        with admission.place() as second:
            second.take(40)
        with admission.place() as third, pytest.raises(ServiceOverloadedError):
            third.take(41)
    with admission.place() as fourth:
        fourth.take(100)
        assert admission.held_bytes == 100


def test_a_single_request_is_admitted_regardless_of_its_size() -> None:
    admission = ByteBudget(10, 100)
    with admission.place() as large, admission.place() as small:
        large.take(1000)
        large.take(1000)
        with pytest.raises(ServiceOverloadedError):
            small.take(1)


def test_a_request_holds_more_as_it_arrives_while_there_is_room() -> None:
    admission = ByteBudget(10, 100)
    with admission.place() as other, admission.place() as arriving:
        other.take(50)
        for _ in range(5):
            arriving.take(10)
        with pytest.raises(ServiceOverloadedError):
            arriving.take(1)


def test_requests_are_admitted_while_there_are_places_and_one_takes_a_single_place() -> None:
    admission = ByteBudget(2, 100)
    with admission.place() as first, admission.place() as second, admission.place() as third:
        for place in (first, second, first, second):
            place.take(1)
        with pytest.raises(ServiceOverloadedError, match="2 requests"):
            third.take(1)


def test_what_a_failed_request_held_is_free_again() -> None:
    admission = ByteBudget(1, 100)

    def fail() -> None:
        with admission.place() as place:
            place.take(100)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert admission.held_bytes == 0
    with admission.place() as place:
        place.take(100)


def test_a_rejection_has_a_retry_after() -> None:
    admission = ByteBudget(1, 100)
    for _ in range(2):
        with admission.place() as place, admission.place() as refused:
            place.take(1)
            with pytest.raises(ServiceOverloadedError) as error:
                refused.take(1)
        assert error.value.headers["Retry-After"] == "1"  # half of what such requests take, and at least a second
