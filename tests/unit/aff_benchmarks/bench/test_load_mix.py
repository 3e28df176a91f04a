"""Mixed load."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from aff_benchmarks.bench.load_mix import CHANGES, Kind, LoadMix, LoadRequest

SEARCHES = {Kind.PHOTOGRAPH: [b"photograph"], Kind.EMBEDDING: [b"embedding"], Kind.SIMILAR: [b"similar"]}


def mix(index_share: float) -> LoadMix:
    return LoadMix(SEARCHES, [b"jpeg"], index_share, {"Authorization": "Bearer key"})


def ids_of(request: LoadRequest) -> tuple[str, ...]:
    """Return the ids in a request to the indexer."""
    head, _, body = request.data.partition(b"\r\n\r\n")
    assert b"\r\nAuthorization: Bearer key\r\n" in head + b"\r\n"
    if request.kind is Kind.DELETE:
        return tuple(json.loads(body)["ids"])
    items = body.split(b'name="items"\r\n\r\n')[1].split(b"\r\n--")[0]
    return tuple(item["id"] for item in json.loads(items))


def test_searches_and_changes_are_drawn_in_their_shares() -> None:
    drawn = mix(0.2)
    counts: Counter[Kind] = Counter()
    for _ in range(4000):
        request = drawn.draw()
        counts[request.kind] += 1
        drawn.settle(request, 200)
    shares = {kind: count / counts.total() for kind, count in counts.items()}
    assert sum(shares[kind] for kind in CHANGES) == pytest.approx(0.2, abs=0.03)
    assert shares[Kind.INDEX] == pytest.approx(shares[Kind.DELETE], abs=0.001)
    assert shares[Kind.PHOTOGRAPH] == pytest.approx(0.8 * 0.6, abs=0.03)


def test_indexed_images_are_deleted_next() -> None:
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
def test_the_last_deletions_cover_every_image_that_may_have_been_indexed(status: int, deleted_later: bool) -> None:
    drawn = mix(1.0)
    request = drawn.draw()
    drawn.settle(request, status)
    assert [ids_of(last) for last in drawn.last_deletions()] == [ids_of(request)] * deleted_later


def test_a_failed_deletion_is_retried() -> None:
    drawn = mix(1.0)
    drawn.settle(drawn.draw(), 200)
    deleted = drawn.draw()
    drawn.settle(deleted, 503)
    assert ids_of(drawn.draw()) == ids_of(deleted)
