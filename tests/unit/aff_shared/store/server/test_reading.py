"""Browsing over REST: what is sent to a server."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from qdrant_client.http.exceptions import UnexpectedResponse

from aff_shared.errors import StoreRejectedError
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.store.gallery_catalogue import open_catalogue
from aff_shared.store.server.errors import translated
from aff_shared.store.settings import StoreSettings
from tests.support.gallery_points import make_points, make_space
from tests.support.qdrant_rest_server import qdrant_rest_server

pytestmark = pytest.mark.anyio
SPACE = make_space()


async def test_pages_and_facets_over_rest(tmp_path: Path) -> None:
    async with qdrant_rest_server(tmp_path) as server:
        settings = StoreSettings(
            url=f"http://127.0.0.1:{server.port}", prefer_grpc=False, payload_schema={"n": "integer"}
        )
        catalogue = await open_catalogue(settings)
        await catalogue.create(SPACE)
        store = await catalogue.collection(SPACE)
        await store.index_payload()
        assert server.calls["PUT /collections/{name}/index"] == 2  # the time, and the declared key
        points = [
            replace(
                point,
                record=replace(
                    point.record,
                    indexed_at=point.record.indexed_at + timedelta(microseconds=i // 2),
                    payload={"n": i // 4},
                ),
            )
            for i, point in enumerate(make_points(9))
        ]
        await store.upsert(points)
        found: list[str] = []
        cursor: str | None = None
        while not found or cursor is not None:
            page = await store.records(limit=2, order="newest", cursor=cursor)
            found += [record.item_id for record in page.records]
            cursor = page.cursor
        assert found[0] == "item-8"
        assert sorted(found) == sorted(point.record.item_id for point in points)
        assert await store.facet("n", limit=2) == [(0, 4), (1, 4)]
        chosen = PayloadFilter.model_validate({"must": [{"key": "n", "match": 2}]})
        assert await store.facet("n", limit=2, payload_filter=chosen) == [(2, 1)]
        await catalogue.close()


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ("No range index for `order_by` key: `indexed_at`. Please create one to use `order_by`.", "indexed_at"),
        ("No appropriate index for faceting: `payload.camera`. Please create one to facet.", "payload.camera"),
    ],
)
def test_a_missing_index_is_an_error_that_names_the_remedy(words: str, key: str) -> None:
    body = json.dumps({"status": {"error": f"Bad request: {words}"}}).encode()
    error = translated(UnexpectedResponse(400, "Bad Request", body, httpx.Headers()), "Qdrant")
    assert isinstance(error, StoreRejectedError)
    assert f"no index of '{key}'" in error.detail
    assert "restart it" in error.detail
