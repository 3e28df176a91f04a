"""What the mixed load consists of."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from aff_benchmarks.bench.load_mix import CHANGES, Asked, Kind, LoadMix

SEARCHES = {Kind.PHOTOGRAPH: [b"photograph"], Kind.EMBEDDING: [b"embedding"], Kind.SIMILAR: [b"similar"]}


def mix(index_share: float) -> LoadMix:
    return LoadMix(SEARCHES, [b"jpeg"], index_share, {"Authorization": "Bearer key"})


def ids_of(asked: Asked) -> tuple[str, ...]:
    """Return the ids that a request to the indexer names."""
    head, _, body = asked.data.partition(b"\r\n\r\n")
    assert b"\r\nAuthorization: Bearer key\r\n" in head + b"\r\n"
    if asked.kind is Kind.DELETE:
        return tuple(json.loads(body)["ids"])
    items = body.split(b'name="items"\r\n\r\n')[1].split(b"\r\n--")[0]
    return tuple(item["id"] for item in json.loads(items))


def test_searches_and_changes_come_in_their_shares() -> None:
    drawn = mix(0.2)
    counts: Counter[Kind] = Counter()
    for _ in range(4000):
        asked = drawn.draw()
        counts[asked.kind] += 1
        drawn.settle(asked, 200)
    shares = {kind: count / counts.total() for kind, count in counts.items()}
    assert sum(shares[kind] for kind in CHANGES) == pytest.approx(0.2, abs=0.03)
    assert shares[Kind.INDEX] == pytest.approx(shares[Kind.DELETE], abs=0.001)
    assert shares[Kind.PHOTOGRAPH] == pytest.approx(0.8 * 0.6, abs=0.03)


def test_what_was_indexed_is_deleted_next() -> None:
    drawn = mix(1.0)
    indexed = drawn.draw()
    assert len(ids_of(indexed)) == len(set(ids_of(indexed))) == 4
    drawn.settle(indexed, 200)
    deleted = drawn.draw()
    assert (indexed.kind, deleted.kind) == (Kind.INDEX, Kind.DELETE)
    assert ids_of(deleted) == ids_of(indexed)
    drawn.settle(deleted, 200)
    assert ids_of(drawn.draw()) != ids_of(indexed)


@pytest.mark.parametrize(("status", "deleted_later"), [(200, True), (500, True), (0, True), (429, False)])
def test_at_the_end_everything_goes_that_may_have_been_indexed(status: int, deleted_later: bool) -> None:
    drawn = mix(1.0)
    asked = drawn.draw()
    drawn.settle(asked, status)
    assert [ids_of(last) for last in drawn.last_deletions()] == [ids_of(asked)] * deleted_later


def test_a_deletion_that_failed_is_tried_again() -> None:
    drawn = mix(1.0)
    drawn.settle(drawn.draw(), 200)
    deleted = drawn.draw()
    drawn.settle(deleted, 503)
    assert ids_of(drawn.draw()) == ids_of(deleted)
