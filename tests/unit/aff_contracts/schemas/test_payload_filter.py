from __future__ import annotations

import json
from typing import Any

import pytest

from aff_contracts.errors import InvalidFilterError
from aff_contracts.schemas.payload_filter import MAX_CONDITIONS, Condition, PayloadFilter, Range, parse_filter


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_no_text_is_no_filter(text: str | None) -> None:
    assert parse_filter(text) is None


def test_every_documented_form_is_read() -> None:
    text = """{
        "must": [{"key": "city", "match": "Oxford"}, {"key": "open", "match": true}],
        "should": [{"key": "place.floor", "any_of": [1, 2]}, {"key": "height_m", "range": {"gte": 2, "lt": 9.5}}],
        "must_not": [{"key": "tag-s", "any_of": ["blurred", "night"]}]
    }"""
    assert parse_filter(text) == PayloadFilter(
        must=[Condition(key="city", match="Oxford"), Condition(key="open", match=True)],
        should=[
            Condition(key="place.floor", any_of=[1, 2]),
            Condition(key="height_m", range=Range(gte=2, lt=9.5)),
        ],
        must_not=[Condition(key="tag-s", any_of=["blurred", "night"])],
    )


def test_a_boolean_stays_a_boolean() -> None:
    payload_filter = parse_filter('{"must": [{"key": "a", "match": true}, {"key": "a", "match": 1}]}')
    assert payload_filter is not None
    assert [type(condition.match) for condition in payload_filter.must] == [bool, int]


def _must(**condition: Any) -> str:
    return json.dumps({"must": [condition]})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "Invalid JSON"),
        ("[]", "object"),
        ("{}", "at least one condition"),
        ('{"musst": []}', "musst"),
        (_must(key="a", match="x", extra=1), "must.0.extra"),
        (_must(match="x"), "must.0.key"),
        (_must(key="", match="x"), "must.0.key"),
        (_must(key="a..b", match="x"), "must.0.key"),
        (_must(key="a[0]", match="x"), "must.0.key"),
        (_must(key="a"), "exactly one of"),
        (_must(key="a", match="x", any_of=["y"]), "exactly one of"),
        (_must(key="a", match=1.5), "must.0.match"),
        (_must(key="a", match=2**63), "must.0.match"),
        (_must(key="a", match="x" * 4097), "must.0.match"),
        (_must(key="a", any_of=[]), "must.0.any_of"),
        (_must(key="a", any_of=["x", 1]), "not both"),
        (_must(key="a", any_of=[True]), "no booleans"),
        (_must(key="a", range={}), "at least one of gt"),
        (_must(key="a", range={"gt": "1"}), "must.0.range.gt"),
        (_must(key="a", range={"above": 1}), "must.0.range.above"),
        (json.dumps({"must": [{"key": "a", "match": 1}] * (MAX_CONDITIONS + 1)}), "at most 64 conditions"),
    ],
)
def test_a_filter_of_another_form_is_refused_with_the_place(text: str, complaint: str) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        parse_filter(text)
    assert complaint in caught.value.detail
    assert caught.value.item == "filter"
    assert "\n" not in caught.value.detail
