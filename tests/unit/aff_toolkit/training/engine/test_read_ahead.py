"""Reading ahead: order, bound, errors."""

from __future__ import annotations

import threading

import pytest

from aff_toolkit.training.engine.read_ahead import read_ahead


def test_every_place_comes_once_and_in_order() -> None:
    assert list(read_ahead(lambda place: place * place, range(50), threads=3)) == [n * n for n in range(50)]
    assert list(read_ahead(lambda place: place, [], threads=1)) == []


def test_no_more_is_read_than_twice_the_threads_ahead() -> None:
    read: list[int] = []
    lock = threading.Lock()

    def reading(place: int) -> int:
        with lock:
            read.append(place)
        return place

    for place in read_ahead(reading, range(40), threads=2):
        with lock:
            assert max(read) <= place + 4


def test_an_error_comes_in_its_place_and_nothing_is_read_after_it() -> None:
    read: list[int] = []

    def reading(place: int) -> int:
        read.append(place)
        if place == 3:
            raise OSError("gone")
        return place

    got: list[int] = []
    with pytest.raises(OSError, match="gone"):
        got.extend(read_ahead(reading, range(100), threads=1))
    assert got == [0, 1, 2]
    assert max(read) < 10
