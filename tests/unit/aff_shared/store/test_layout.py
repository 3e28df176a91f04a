"""A record as the JSON object of its point."""

from datetime import UTC, datetime

from aff_shared.store.layout import from_payload, to_payload
from tests.support.gallery_points import make_point, unit

# Written by version 0.1, which had no extractors.
EARLIER = {
    "item_id": "a",
    "content_sha256": "0" * 64,
    "width": 640,
    "height": 480,
    "indexed_at": "2026-01-02T03:04:05.678901+00:00",
    "payload": {"extractors": "the caller's own"},
}


def test_a_record_survives_its_json_object() -> None:
    record = make_point("a", unit([1, 2]), {"n": 1}).record
    assert to_payload(record)["extractors"] == ["cnn", "sift"]
    assert from_payload(to_payload(record)) == record


def test_a_point_of_an_earlier_release_is_read() -> None:
    record = from_payload(EARLIER)
    assert (record.item_id, record.width, record.height) == ("a", 640, 480)
    assert record.indexed_at == datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert record.payload == {"extractors": "the caller's own"}
    assert record.extractors is None
