from __future__ import annotations

import math
from typing import Any

import pytest

from aff_shared.errors import InvalidItemsError
from gallery_indexer.indexing.payload_limits import MAX_DEPTH, PayloadLimits, require_storable, same_payload


def _nested(depth: int) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    for _ in range(depth - 1):
        payload = {"inner": payload}
    return payload


def test_a_payload_of_exactly_the_limit_is_storable() -> None:
    # {"a":"é"} is 9 characters, and é takes two bytes.
    require_storable({"a": "é"}, PayloadLimits(10), item="cat")


def test_a_payload_one_byte_over_the_limit_is_rejected_with_the_images_name() -> None:
    with pytest.raises(InvalidItemsError, match="cat: the payload has 10 bytes, the limit is 9 bytes"):
        require_storable({"a": "é"}, PayloadLimits(9), item="cat")


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), True, 1e300])
def test_numbers_of_64_bits_are_storable(number: float) -> None:
    require_storable({"a": [number]}, PayloadLimits(1000), item="cat")


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, math.inf, math.nan])
def test_a_number_that_no_store_supports_is_rejected(number: float) -> None:
    with pytest.raises(InvalidItemsError):
        require_storable({"a": [{"b": number}]}, PayloadLimits(1000), item="cat")


def test_nesting_is_limited() -> None:
    require_storable(_nested(MAX_DEPTH), PayloadLimits(1000), item="cat")
    with pytest.raises(InvalidItemsError, match="nested deeper than 32"):
        require_storable(_nested(MAX_DEPTH + 1), PayloadLimits(1000), item="cat")
    with pytest.raises(InvalidItemsError, match="the payload's b is nested deeper than 32, or has an integer beyond"):
        require_storable({"a": 1, "b": 2**64}, PayloadLimits(1000), item="cat")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": [2, None]}, {"b": [2, None], "a": 1}),
        ({"latitude": 94.95886283158103}, {"latitude": 94.95886283158104}),
    ],
)
def test_the_order_of_keys_and_the_last_digit_of_a_fraction_do_not_matter(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert same_payload(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 1}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": [1]}, {"a": [1, 1]}),
        ({"a": {}}, {"a": []}),
        ({"a": 0.1}, {"a": 0.1000001}),
    ],
)
def test_any_other_difference_matters(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert not same_payload(one, other)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("keyword", ["Paris", ["Paris", "Rome"], None], [1, True, ["Paris", 1], {"a": 1}]),
        ("integer", [1, [1, 2], None], [1.5, True, "1"]),
        ("float", [1, 1.5, [1, 2.5]], [True, "1"]),
        ("bool", [True, [False]], [1, "true"]),
        (
            "datetime",
            [
                "2024-05-01T10:00:00Z",
                "2024-05-01 10:00:00.123456789+02:00",
                "2024-05-01t10:00:00z",
                ["2024-05-01T10:00:00+0000"],
            ],
            [
                *(
                    "2024-05-01T10:00:00",
                    "2024-05-01",
                    "2024-05-01T10:00Z",
                    "2024-05-01T10:00:00,5Z",
                    "2024-05-01_10:00:00Z",
                ),
                *("1714557600", "1714557600000", "2024-W18-3T10:00:00Z", "2024-02-30T10:00:00Z", "May", 5),
            ],
        ),
        ("geo", [{"lat": 43.7, "lon": 10.4}], [{"lat": 91, "lon": 0}, {"lat": 1}, "43.7,10.4"]),
    ],
)
def test_a_value_of_another_type_than_declared_is_rejected_with_its_key(
    kind: Any, good: list[Any], bad: list[Any]
) -> None:
    limits = PayloadLimits(1000, {"at.key": kind})
    for value in good:
        require_storable({"at": {"key": value}, "key": object.__name__}, limits, item="cat")
    require_storable({"at": 5}, limits, item="cat")
    for value in bad:
        with pytest.raises(InvalidItemsError, match=rf"at\.key is not of its declared type {kind}: "):
            require_storable({"at": {"key": value}}, limits, item="cat")


def test_the_error_of_an_invalid_date_shows_the_required_form() -> None:
    limits = PayloadLimits(1000, {"taken at": "datetime"})
    with pytest.raises(InvalidItemsError, match=r"taken at .* datetime: a text as in 2024-05-01T10:00:00\+02:00 "):
        require_storable({"taken at": "2024-05-01"}, limits, item="cat")


def test_a_declared_key_may_have_a_dot_in_it() -> None:
    limits = PayloadLimits(1000, {'"f.number"': "float"})
    require_storable({"f": {"number": "wide"}, "f.number": 2.8}, limits, item="cat")
    with pytest.raises(InvalidItemsError):
        require_storable({"f.number": "wide"}, limits, item="cat")
