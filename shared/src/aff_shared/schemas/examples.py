"""One example of each request and answer, for the OpenAPI documents; all use the same few photographs.

None has a null in it: FastAPI leaves nulls out of the document.
"""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

Example = dict[str, JsonValue]

_FINGERPRINT = "9c56cc51b374c3ba189210d5b6d4bf57790d351c96c47c02190ecf1e430635ab"
_OTHER_FINGERPRINT = "3973e022e93220f9212c18d0d0c543ae7c309e46640da93a4a0314de999f5112"
_CONTENT = "2c624232cdd221771294dfbb310aca000a0df6ac8b66b696d90ef06fdefb64a3"
GRAPH_SHA256 = "4ec9599fc203d176a301536c2e091a19bc852759b255bd6818810a42c5fed14a"
_SPACE: Example = {
    "id": "7902699be42c8a8e46fbbb4501726517e86b22c56a189f7625a6da49081b2451",
    "dimension": 512,
    "metric": "cosine",
}
_OTHER_SPACE: Example = {**_SPACE, "id": "6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918"}
_ID = "paris/eiffel-1.jpg"
_PAYLOAD: Example = {"city": "Paris", "place": "Eiffel Tower", "year": 2024}
_DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGklEQVR42mM8ISfHQApgYiARjGoY1TB0NAAATx8BJMixHB8AAAAASUVORK5CYII="
)
_WHEN = "2024-05-01T09:30:00Z"

PROBLEM: Example = {
    "type": "urn:aff:problem:image_truncated",
    "title": "The image file ends too early",
    "status": 422,
    "detail": "the image file ends before its last row",
    "code": "image_truncated",
    "item": "holiday.jpg",
}
HEALTH: Example = {"status": "alive"}
READINESS: Example = {"status": "ready", "bundle": "landmarks-1", "fingerprint": _FINGERPRINT}

PAYLOAD_FILTER: Example = {
    "must": [{"key": "city", "match": "Paris"}, {"key": "year", "range": {"gte": 2020}}],
    "must_not": [{"key": "place", "any_of": ["Louvre"]}],
}
EMBEDDING_SEARCH: Example = {
    "embedding": [0.5, -0.5, 0.5, 0.5],
    "fingerprint": _FINGERPRINT,
    "limit": 5,
    "filter": {"must": [{"key": "city", "match": "Paris"}]},
}
SEARCH_RESPONSE: Example = {
    "hits": [
        {
            "id": _ID,
            "score": 0.91,
            "strength": "same",
            "width": 4032,
            "height": 3024,
            "indexed_at": _WHEN,
            "payload": _PAYLOAD,
        },
        {
            "id": "paris/louvre-7.jpg",
            "score": 0.42,
            "strength": "weak",
            "width": 1600,
            "height": 1200,
            "indexed_at": _WHEN,
            "payload": {"city": "Paris", "place": "Louvre", "year": 2021},
        },
    ],
    "timings_ms": {"decode": 1.8, "encode": 3.1, "search": 0.9},
    "fingerprint": _FINGERPRINT,
}
BATCH_RESPONSE: Example = {
    "results": [
        {"name": "tower.jpg", "result": SEARCH_RESPONSE},
        {"name": "holiday.jpg", "error": PROBLEM},
    ]
}
ENCODER_DESCRIPTION: Example = {
    "fingerprint": _FINGERPRINT,
    "space": _SPACE,
    "preprocessing": {"resize": "stretch", "size": 224},
    "serving": "int8",
    "files": [
        {
            "precision": "int8",
            "url": f"/encoder/model.onnx?precision=int8&sha256={GRAPH_SHA256}",
            "sha256": GRAPH_SHA256,
            "size_bytes": 2_630_412,
        }
    ],
    "licences": ["Apache-2.0"],
}

_RECEIPTS: list[JsonValue] = [
    {
        "index": 0,
        "id": _ID,
        "name": "eiffel.jpg",
        "status": "indexed",
        "extractors": ["dinov2", "delg"],
        "found_nothing": [],
    },
    {"index": 1, "id": "holiday", "name": "holiday.jpg", "status": "rejected", "error": PROBLEM},
]
_SUMMARY: Example = {"indexed": 1, "updated": 0, "duplicate": 0, "rejected": 1}
INDEX_ITEM: Example = {"id": _ID, "payload": _PAYLOAD}
INDEX_IMAGE: Example = {"id": "dot", "payload": {"colour": "red"}, "image": _DOT}
INDEX_REQUEST: Example = {"images": [INDEX_IMAGE, {**INDEX_ITEM, "url": "https://example.org/eiffel.jpg"}]}
INDEX_RESPONSE: Example = {**_SUMMARY, "receipts": _RECEIPTS}
INDEX_LINE: Example = {"receipt": _RECEIPTS[0]}
LOOKUP_REQUEST: Example = {"images": [{"id": _ID, "content_sha256": _CONTENT, "payload": _PAYLOAD}]}
LOOKUP_RESPONSE: Example = {"up_to_date": [_ID]}
GALLERY_IMAGE: Example = {
    "id": _ID,
    "content_sha256": _CONTENT,
    "width": 4032,
    "height": 3024,
    "indexed_at": _WHEN,
    "extractors": ["dinov2", "delg"],
    "payload": _PAYLOAD,
}
GALLERY_IMAGES: Example = {"images": [GALLERY_IMAGE], "next_cursor": "n1714555800000000", "total": 50_000}
FACETS: Example = {
    "facets": [
        {
            "key": "city",
            "type": "keyword",
            "values": [
                {"value": "Paris", "label": "Paris", "count": 120, "condition": {"key": "city", "match": "Paris"}}
            ],
        }
    ]
}
PAGE_CONFIG: Example = {
    "indexer": "/indexer",
    "originals": False,
    "schema": {"folder": "keyword", "taken_at": "datetime"},
    "max_limit": 1000,
    "version": "1.0.0",
}
PAYLOAD = _PAYLOAD
PAYLOAD_PATCH: Example = {"year": 2025}
DELETE_RESPONSE: Example = {"id": _ID, "deleted": True}
DELETE_REQUEST: Example = {"filter": {"must": [{"key": "city", "match": "Paris"}]}}
DELETED_IMAGES: Example = {"deleted": 12}

COLLECTION_STATUS: Example = {
    "space": _OTHER_SPACE,
    "live": False,
    "live_since": "2024-02-17T08:00:00Z",
    "count": 0,
    "bundle": "landmarks-2",
    "fingerprint": _OTHER_FINGERPRINT,
}
_LIVE_COLLECTION: Example = {
    "space": _SPACE,
    "live": True,
    "live_since": _WHEN,
    "count": 50_000,
    "bundle": "landmarks-1",
    "fingerprint": _FINGERPRINT,
}
GALLERY_STATUS: Example = {
    "count": 50_000,
    "store": "qdrant_server",
    "bundle": "landmarks-1",
    "fingerprint": _FINGERPRINT,
    "space": _SPACE,
    "collections": [_LIVE_COLLECTION, COLLECTION_STATUS],
    "activity": {**_SUMMARY, "images_per_s": 118.5, "in_flight": 64},
    "kept_tokens": {"images": 50_000, "size_bytes": 760_000_000},
}
BUILD_REQUEST: Example = {"bundle": "landmarks-2"}
GALLERY_JOB: Example = {
    "id": "0f8fad5bd9cb469fa16570867728950e",
    "kind": "remix",
    "item": "landmarks-2",
    "state": "running",
    "started_at": _WHEN,
    "ended_at": None,
    "done": 12_000,
    "total": 50_000,
    "result": {"space": _OTHER_SPACE, "missing": 1, "missing_ids": ["rome/forum-3.jpg"]},
    "problem": None,
}
SWITCH_REQUEST: Example = {"space": "6b51d431"}
VERIFY_REQUEST: Example = {"space": "6b51d431", "samples": 100, "neighbours": 10}
COLLECTION_COMPARISON: Example = {
    "live_count": 50_000,
    "count": 49_999,
    "missing": 1,
    "missing_ids": ["rome/forum-3.jpg"],
    "surplus": 0,
    "surplus_ids": [],
    "samples": 100,
    "live_self_recall": 1.0,
    "self_recall": 1.0,
    "shared_neighbours": 0.83,
}
BACKUP_REQUEST: Example = {"name": "before-landmarks-2"}
RESTORE_REQUEST: Example = {**BACKUP_REQUEST, "force": True}
BACKUP: Example = {
    "name": "before-landmarks-2",
    "store": "qdrant_edge",
    "created_at": _WHEN,
    "spaces": [_SPACE],
    "count": 50_000,
    "size_bytes": 240_000_000,
}
ITEM_ID = _ID
SPACE_ID = "6b51d431"


def shown(example: Example) -> dict[str, Any]:
    """Return the `json_schema_extra` that shows the example in a model's schema."""
    return {"examples": [example]}
