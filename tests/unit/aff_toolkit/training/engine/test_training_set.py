"""How an epoch is cut into batches."""

from __future__ import annotations

import threading

import pytest
import torch

from aff_toolkit.training.engine.training_set import paired_batches, read_ahead, shuffled_batches


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labels() -> torch.Tensor:
    """Instances of 5, 2, 4, 1 and 3 photographs, in no order."""
    return torch.tensor([0, 2, 1, 0, 4, 2, 0, 3, 4, 1, 0, 2, 4, 0, 2])


def test_shuffled_batches_hold_every_row_at_most_once_and_leave_out_less_than_a_batch() -> None:
    batches = shuffled_batches(11, 4, generator())
    rows = torch.cat(batches).tolist()
    assert [len(batch) for batch in batches] == [4, 4]
    assert len(set(rows)) == 8
    assert set(rows) <= set(range(11))


def test_shuffled_batches_differ_from_epoch_to_epoch() -> None:
    source = generator()
    first, second = (torch.cat(shuffled_batches(64, 8, source)) for _ in range(2))
    assert not torch.equal(first, second)


def test_every_paired_batch_is_made_of_pairs_with_equal_labels() -> None:
    for seed in range(20):
        for batch in paired_batches(labels(), 4, generator(seed)):
            assert len(batch) == 4
            for first, second in batch.view(-1, 2).tolist():
                assert labels()[first] == labels()[second]


def test_no_row_is_in_two_pairs() -> None:
    for seed in range(20):
        rows = torch.cat(paired_batches(labels(), 4, generator(seed))).tolist()
        assert len(set(rows)) == len(rows)


def test_every_epoch_has_as_many_paired_batches() -> None:
    """5, 2, 4, 1 and 3 photographs yield 2 + 1 + 2 + 0 + 1 = 6 pairs, which are 3 batches of 2 pairs."""
    source = generator()
    assert [len(paired_batches(labels(), 4, source)) for _ in range(10)] == [3] * 10


def test_without_photographs_there_are_no_pairs() -> None:
    assert paired_batches(torch.zeros(0, dtype=torch.int64), 4, generator()) == []


def test_pairs_and_their_order_change_from_epoch_to_epoch() -> None:
    source = generator()
    epochs = [torch.cat(paired_batches(labels(), 4, source)).view(-1, 2).tolist() for _ in range(20)]
    assert len({str(epoch) for epoch in epochs}) > 15
    assert len({frozenset(pair) for epoch in epochs for pair in epoch}) > 6
    assert {labels()[epoch[0][0]].item() for epoch in epochs} == {0, 1, 2, 4}


def test_every_place_is_read_once_and_in_order() -> None:
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


def test_an_error_is_raised_at_its_place_and_nothing_is_read_after_it() -> None:
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
