from __future__ import annotations

import json
import math
from typing import Any

import pytest

from aff_shared.errors import InvalidFilterError
from aff_shared.schemas.payload_filter import MAX_CONDITIONS, Condition, PayloadFilter, Range, key_parts, parse_filter


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


_PARIS = {"lat": 48.86, "lon": 2.35}


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("city", ["city"]),
        ("place.floor", ["place", "floor"]),
        ("EXIF:Make", ["EXIF:Make"]),
        ('"f.number"."in [mm]".x', ["f.number", "in [mm]", "x"]),
        ('""', [""]),
        ("straße.日本 語", ["straße", "日本 語"]),
    ],
)
def test_a_key_is_a_way_into_nested_objects(key: str, parts: list[str]) -> None:
    assert Condition(key=key, match=1).key == key
    assert key_parts(key) == parts


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
        (_must(key="a[0]", match="x"), "must.0.key: Value error, a key consists of names separated by dots"),
        (_must(key="a.", match="x"), "must.0.key"),
        (_must(key='"a', match="x"), "is written in double quotes"),
        (_must(key='a"b', match="x"), "a name with a double quote or a backslash is not supported"),
        (_must(key="a\\b", match="x"), "a name with a double quote or a backslash is not supported"),
        (_must(key="a" * 257, match="x"), "must.0.key"),
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
        (_must(key="a", range={"gt": math.inf}), "finite"),
        (
            _must(key="a", geo_radius={"center": _PARIS, "radius_m": 0}),
            "must.0.geo_radius.radius_m: Input should be greater",
        ),
        (_must(key="a", geo_radius={"center": _PARIS, "radius_m": math.nan}), "finite"),
        (
            _must(key="a", geo_radius={"center": {"lat": 90.1, "lon": 0}, "radius_m": 1}),
            "center.lat: Input should be less",
        ),
        (_must(key="a", geo_box={"top_left": {"lat": 1, "lon": -181}, "bottom_right": _PARIS}), "top_left.lon"),
        (_must(key="a", geo_box={"top_left": {"lat": 1, "lon": 1}, "bottom_right": _PARIS}), "top_left is south"),
        *(
            (_must(key="a", datetime_range={"gte": moment}), complaint)
            for moment, complaint in (
                ("2024-05-01", "a date and time is a text as in 2024-05-01T10:00:00+02:00"),
                ("2024-05-01T10:00:00", "(RFC 3339)"),
                ("1714557600", "(RFC 3339)"),
                (1714557600, "(RFC 3339)"),
                ("2024-W18-3T10:00:00Z", "(RFC 3339)"),
                ("2024-02-30T10:00:00Z", "day value"),
                ("2024-05-01T24:00:00Z", "(RFC 3339)"),
                ("2024-05-01T10:00:00+99:00", "(RFC 3339)"),
                ("0001-01-01T00:00:00+23:59", "years 1 to 9999"),
            )
        ),
        (json.dumps({"must": [{"key": "a", "match": 1}] * (MAX_CONDITIONS + 1)}), "at most 64 conditions"),
    ],
)
def test_a_filter_of_another_form_is_rejected_with_the_place(text: str, complaint: str) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        parse_filter(text)
    assert complaint in caught.value.detail
    assert caught.value.item == "filter"
    assert "\n" not in caught.value.detail
