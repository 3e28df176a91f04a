"""Payloads, and filters with the ids of the payloads that they match, worked out by hand."""

from __future__ import annotations

from typing import Any

PHOTOGRAPHS: dict[str, dict[str, Any]] = {
    "tower": {
        "city": "Pisa",
        "year": 1372,
        "open": True,
        "tags": ["tower", "white"],
        "at": {"lat": 43.723, "lon": 10.397},
        "seen": "2024-05-01T10:00:00Z",
    },
    "dome": {
        "city": "Florence",
        "year": 1436,
        "open": True,
        "tags": ["dome"],
        "at": {"lat": 43.773, "lon": 11.256},
        "seen": "2024-05-01T14:00:00+02:00",
    },
    "arch": {
        "city": "Rome",
        "year": 203,
        "open": False,
        "tags": ["arch", "white"],
        "at": {"lat": 41.893, "lon": 12.485},
        "seen": "2025-01-01T00:00:00Z",
    },
    "dateline": {"at": {"lat": -16.8, "lon": 180}, "seen": "2024-05-01t12:00:00.123456789z"},
    "island": {"at": {"lat": -17, "lon": -179.5}, "seen": "2024-05-01 14:00:01+0200"},
    "bare": {},
    "keys": {
        "straße": "a",
        "日本": "b",
        "EXIF:Make": "c",
        "with blank": "d",
        "f.number": {"in [mm]": 7},
        "😀": 2**53 + 1,
        "o'clock $*": -(2**63),
        "most": [2**63 - 1],
    },
    "odd": {"city": ["Rome", "Pisa"], "year": "1372", "open": 1, "a-b_c": {"0": {"d": 5}}},
}

FILTERS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "text": ({"must": [{"key": "city", "match": "Rome"}]}, {"arch", "odd"}),
    "another case": ({"must": [{"key": "city", "match": "rome"}]}, set()),
    "integer": ({"must": [{"key": "year", "match": 1372}]}, {"tower"}),
    "true": ({"must": [{"key": "open", "match": True}]}, {"tower", "dome"}),
    "false": ({"must": [{"key": "open", "match": False}]}, {"arch"}),
    "one is not true": ({"must": [{"key": "open", "match": 1}]}, {"odd"}),
    "in a list": ({"must": [{"key": "tags", "match": "white"}]}, {"tower", "arch"}),
    "nested": ({"must": [{"key": "a-b_c.0.d", "match": 5}]}, {"odd"}),
    "nested range": ({"must": [{"key": "at.lat", "range": {"gt": 43.75}}]}, {"dome"}),
    "any of texts": ({"must": [{"key": "city", "any_of": ["Pisa", "Florence"]}]}, {"tower", "dome", "odd"}),
    "any of integers": ({"must": [{"key": "year", "any_of": [203, 1436]}]}, {"arch", "dome"}),
    "range": ({"must": [{"key": "year", "range": {"gte": 203, "lt": 1436}}]}, {"tower", "arch"}),
    "open range": ({"must": [{"key": "year", "range": {"gt": 203, "lte": 1436}}]}, {"tower", "dome"}),
    "both": (
        {"must": [{"key": "open", "match": True}, {"key": "year", "range": {"lt": 1400}}]},
        {"tower"},
    ),
    "should": (
        {"should": [{"key": "city", "match": "Florence"}, {"key": "tags", "match": "arch"}]},
        {"dome", "arch"},
    ),
    "must not": (
        {"must_not": [{"key": "open", "match": True}]},
        {"arch", "bare", "odd", "dateline", "island", "keys"},
    ),
    "must not twice": (
        {"must_not": [{"key": "open", "match": True}, {"key": "city", "match": "Rome"}]},
        {"bare", "dateline", "island", "keys"},
    ),
    "all three": (
        {
            "must": [{"key": "tags", "any_of": ["white", "dome"]}],
            "should": [{"key": "city", "match": "Rome"}, {"key": "city", "match": "Pisa"}],
            "must_not": [{"key": "open", "match": False}],
        },
        {"tower"},
    ),
    "since a moment": (
        {"must": [{"key": "seen", "datetime_range": {"gte": "2024-05-01T12:00:00Z"}}]},
        {"dome", "arch", "dateline", "island"},  # 14:00 in Florence is 12:00 in Greenwich
    ),
    "between moments": (
        {"must": [{"key": "seen", "datetime_range": {"gt": "2024-05-01T10:00:00Z", "lt": "2025-01-01T00:00:00Z"}}]},
        {"dome", "dateline", "island"},
    ),
    "near": (
        {"must": [{"key": "at", "geo_radius": {"center": {"lat": 43.7, "lon": 10.4}, "radius_m": 75_000}}]},
        {"tower", "dome"},  # Pisa is 3 km from there, Florence 69 km, Rome 264 km
    ),
    "very near": (
        {"must": [{"key": "at", "geo_radius": {"center": {"lat": 43.7, "lon": 10.4}, "radius_m": 10_000}}]},
        {"tower"},
    ),
    "in a box": (
        {
            "must": [
                {"key": "at", "geo_box": {"top_left": {"lat": 44, "lon": 11}, "bottom_right": {"lat": 41, "lon": 13}}}
            ]
        },
        {"dome", "arch"},
    ),
    "to the microsecond": (
        {
            "must": [
                {"key": "seen", "datetime_range": {"gt": "2024-05-01T12:00:00Z", "lte": "2024-05-01T12:00:00.123456Z"}}
            ]
        },
        {"dateline"},
    ),
    "a space, small letters, no colon": (
        {
            "must": [
                {"key": "seen", "datetime_range": {"gt": "2024-05-01 12:00:00z", "lt": "2024-05-01t12:00:01.5+0000"}}
            ]
        },
        {"dateline", "island"},
    ),
    "on the edges of a box": (
        {
            "must": [
                {
                    "key": "at",
                    "geo_box": {
                        "top_left": {"lat": 43.773, "lon": 10.397},
                        "bottom_right": {"lat": 43.723, "lon": 11.256},
                    },
                }
            ]
        },
        {"tower", "dome"},
    ),
    "a box as small as a place": (
        {
            "must": [
                {
                    "key": "at",
                    "geo_box": {
                        "top_left": {"lat": 43.773, "lon": 11.256},
                        "bottom_right": {"lat": 43.773, "lon": 11.256},
                    },
                }
            ]
        },
        {"dome"},
    ),
    "across the 180th meridian": (
        {
            "must": [
                {
                    "key": "at",
                    "geo_box": {"top_left": {"lat": 0, "lon": 170}, "bottom_right": {"lat": -90, "lon": -170}},
                }
            ]
        },
        {"dateline", "island"},
    ),
    "up to the 180th meridian": (
        {
            "must": [
                {"key": "at", "geo_box": {"top_left": {"lat": 0, "lon": 170}, "bottom_right": {"lat": -90, "lon": 180}}}
            ]
        },
        {"dateline"},
    ),
    "from the 180th meridian on": (
        {
            "must": [
                {"key": "at", "geo_box": {"top_left": {"lat": 0, "lon": -180}, "bottom_right": {"lat": -90, "lon": 0}}}
            ]
        },
        {"dateline", "island"},
    ),
    "all of the earth": (
        {
            "must": [
                {
                    "key": "at",
                    "geo_box": {"top_left": {"lat": 90, "lon": -180}, "bottom_right": {"lat": -90, "lon": 180}},
                }
            ]
        },
        {"tower", "dome", "arch", "dateline", "island"},
    ),
    "nearly all around": (
        {
            "must": [
                {
                    "key": "at",
                    "geo_box": {"top_left": {"lat": 90, "lon": 13}, "bottom_right": {"lat": -90, "lon": 12.9}},
                }
            ]
        },
        {"tower", "dome", "arch", "dateline", "island"},
    ),
    "not in a box": (
        {
            "must": [{"key": "at.lat", "range": {"gte": -90}}],
            "must_not": [
                {"key": "at", "geo_box": {"top_left": {"lat": 90, "lon": 0}, "bottom_right": {"lat": 0, "lon": 180}}}
            ],
        },
        {"dateline", "island"},
    ),
    "near across the meridian": (
        {"must": [{"key": "at", "geo_radius": {"center": {"lat": -16.8, "lon": 179.9}, "radius_m": 70_000}}]},
        {"dateline", "island"},  # 11 km and 67 km from there
    ),
    "key with accents": ({"must": [{"key": "straße", "match": "a"}]}, {"keys"}),
    "key in Chinese": ({"must": [{"key": "日本", "match": "b"}]}, {"keys"}),
    "key with a colon": ({"must": [{"key": "EXIF:Make", "any_of": ["c"]}]}, {"keys"}),
    "key with a blank": ({"must": [{"key": "with blank", "match": "d"}]}, {"keys"}),
    "quoted keys": ({"must": [{"key": '"f.number"."in [mm]"', "range": {"gte": 7}}]}, {"keys"}),
    "a dot outside of quotes goes into an object": ({"must": [{"key": 'f.number."in [mm]"', "match": 7}]}, set()),
    "beyond the integers of a float": ({"must": [{"key": "😀", "match": 2**53 + 1}]}, {"keys"}),
    "one less than that": ({"must": [{"key": "😀", "match": 2**53}]}, set()),
    "the least integer": ({"must": [{"key": "o'clock $*", "any_of": [-(2**63), 0]}]}, {"keys"}),
    "the greatest integer": ({"must": [{"key": "most", "match": 2**63 - 1}]}, {"keys"}),
    "absent key": ({"must": [{"key": "nothing", "match": "x"}]}, set()),
    "the store's own fields cannot be reached": ({"must": [{"key": "width", "match": 640}]}, set()),
}
