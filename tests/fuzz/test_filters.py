"""A damaged filter is rejected with one of our errors, or the store accepts it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from aff_shared.errors import InvalidFilterError
from aff_shared.schemas.payload_filter import parse_filter
from aff_shared.store.embedded.shard import EdgeGallery
from aff_shared.store.server.conversion import to_filter as to_server_filter
from aff_shared.store.settings import StoreSettings
from tests.fuzz.cases import run_cases
from tests.fuzz.mutations import mutated
from tests.support.filter_cases import FILTERS, PHOTOGRAPHS
from tests.support.gallery_points import make_point, make_space

TEXTS = [json.dumps(condition).encode() for condition, _ in FILTERS.values()]
WORDS = (
    b"must", b"should", b"must_not", b"any_of", b"range", b"null", b"true", b"1e308", b"-1e999", b"NaN", b"Infinity",
    b"9223372036854775807", b"-9223372036854775809", b"0.0", b"-0.0", b"[]", b"{}", b"[" * 300, b'{"a":' * 300,
    b"\\ud800", b"\\u0000", b"\xff", b'"0001-01-01T00:00:00Z"', b'"9999-12-31T23:59:59-14:00"', b"1e-320",
    b"180", b"-90",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**63 - 1, -(2**63), 2**64, 0.5, 1e308, 5e-324, "", "x" * 5000, "\0", "é", [], {}, [1],
    ["a", "b"],
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1582-10-04T00:00:00+23:59", "2024-02-30T00:00:00Z",
)  # fmt: skip


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[EdgeGallery]:
    gallery = EdgeGallery(tmp_path / "gallery", StoreSettings(url="", payload_schema={"year": "integer", "at": "geo"}))
    gallery.create(make_space())
    gallery.index_payload()
    gallery.upsert([make_point(name, np.eye(8)[0], payload) for name, payload in PHOTOGRAPHS.items()])
    yield gallery
    gallery.close()


def test_a_damaged_filter_is_rejected_or_used(gallery: EdgeGallery) -> None:
    def case(rng: Random) -> str:
        if rng.random() < 0.5:
            text = mutated(rng, rng.choice(TEXTS), TEXTS, WORDS).decode(errors="surrogateescape")
        else:
            document = json.loads(rng.choice(TEXTS))
            _replace_something(rng, document)
            text = json.dumps(document)
        try:
            parsed = parse_filter(text)
        except InvalidFilterError as error:
            json.dumps(str(error)).encode()
            return "refused"
        if parsed is None:
            return "none"
        to_server_filter(parsed)
        assert 0 <= gallery.count(parsed) <= len(PHOTOGRAPHS)
        return "searched with"

    outcomes = run_cases("filters", 0.1, case)
    assert outcomes["searched with"]


def _replace_something(rng: Random, document: Any) -> None:
    """Put an odd value somewhere into a document, or take something out."""
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        node = waiting.pop()
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                waiting.append(node[key])
    node, key = rng.choice(places)
    if rng.random() < 0.2:
        del node[key]
    elif rng.random() < 0.2 and isinstance(node, list):
        node *= rng.choice((2, 70, 1100))
    else:
        node[key] = rng.choice(VALUES)
