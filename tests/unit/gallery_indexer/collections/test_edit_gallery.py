from __future__ import annotations

from typing import Any

import pytest

from gallery_indexer.collections.edit_gallery import merged


@pytest.mark.parametrize(
    ("payload", "patch", "expected"),
    [  # the examples of RFC 7396, appendix A, whose target is an object
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_payload_is_merged_as_in_the_rfc(payload: Any, patch: Any, expected: Any) -> None:
    before = repr(payload)
    assert merged(payload, patch) == expected
    assert repr(payload) == before
