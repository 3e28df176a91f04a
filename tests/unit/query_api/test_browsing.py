"""Browsing the gallery over HTTP: pages, facets, thumbnails, originals, and the settings of the page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from aff_shared.bundles.bundle import ScoreLevels, write_manifest
from aff_shared.store.settings import StoreSettings
from query_api.http.gallery_routes import find_original
from query_api.settings import QuerySettings
from tests.support.gallery_points import make_point
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.plain_photograph import plain_png
from tests.support.problems import require_problem
from tests.support.query_service import MAX_LIMIT, QueryService
from tests.support.tiny_query_encoder import tiny_embedding

pytestmark = pytest.mark.anyio
RED = plain_png((255, 0, 0))

PAYLOADS: dict[str, dict[str, Any]] = {
    "a/1.jpg": {"folder": "a", "file_name": "1.jpg", "camera": "X100", "taken_at": "2023-12-31T23:30:00-01:00"},
    "a/2.jpg": {"folder": "a", "file_name": "2.jpg", "camera": "X100", "taken_at": "2024-05-01T10:00:00Z"},
    "a/3.jpg": {"folder": "a", "file_name": "3.jpg", "camera": "Z6", "taken_at": "1999-12-31T23:59:59Z"},
    "b/4.jpg": {"folder": "b", "file_name": "4.jpg"},
}


@pytest.fixture
async def browsed(
    service: QueryService, gallery: MemoryGalleryStore, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """The service with four images, added in their order; the originals of two of them are in a directory."""
    await gallery.delete(["red", "green", "blue", "white"])
    for number, (item_id, payload) in enumerate(PAYLOADS.items()):
        point = make_point(item_id, tiny_embedding((number + 1, 0, 0)), payload)
        record = replace(point.record, indexed_at=point.record.indexed_at + timedelta(seconds=number))
        await gallery.upsert([replace(point, record=record, thumbnail=b"RIFF....WEBP")])
    originals = tmp_path / "originals"
    (originals / "a").mkdir(parents=True)
    (originals / "a" / "1.jpg").write_bytes(RED)
    (originals / "a" / "2.jpg").write_bytes(b"<svg onload=alert(1)>")
    settings = service.settings.model_copy(update={"originals_dir": originals, "page_indexer_url": "/indexer"})
    async with QueryService(settings, service.manifest).running(gallery) as client:
        yield client


async def test_pages_of_the_gallery_are_newest_first_and_complete(browsed: httpx.AsyncClient) -> None:
    first = (await browsed.get("/images", params={"limit": 3})).json()
    assert [image["id"] for image in first["images"]] == ["b/4.jpg", "a/3.jpg", "a/2.jpg"]
    assert first["total"] == 4
    second = (await browsed.get("/images", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [image["id"] for image in second["images"]] == ["a/1.jpg"]
    assert second["next_cursor"] is None
    assert second["images"][0]["payload"] == PAYLOADS["a/1.jpg"]
    assert (second["images"][0]["width"], second["images"][0]["height"]) == (640, 480)


async def test_a_filter_limits_the_pages_and_their_total(browsed: httpx.AsyncClient) -> None:
    chosen = json.dumps({"must": [{"key": "folder", "match": "a"}]})
    page = (await browsed.get("/images", params={"filter": chosen, "order": "oldest", "limit": 2})).json()
    assert [image["id"] for image in page["images"]] == ["a/1.jpg", "a/2.jpg"]
    assert page["total"] == 3


@pytest.mark.parametrize(
    ("parameters", "code", "item"),
    [
        ({"cursor": "nonsense"}, "parameter_invalid", "cursor"),
        ({"cursor": "o5"}, "parameter_invalid", "cursor"),
        ({"order": "best"}, "parameter_invalid", "order"),
        ({"limit": "0"}, "parameter_invalid", "limit"),
        ({"limit": str(MAX_LIMIT + 1)}, "parameter_invalid", "limit"),
        ({"page": "2"}, "parameter_invalid", "page"),
        ({"filter": "{"}, "filter_invalid", "filter"),
        ({"id": ""}, "parameter_invalid", "id"),
    ],
)
async def test_parameters_that_no_page_has_are_rejected(
    browsed: httpx.AsyncClient, parameters: dict[str, str], code: str, item: str
) -> None:
    require_problem(await browsed.get("/images", params=parameters), 422, code, item)


async def test_a_hit_has_the_size_and_time_of_its_photograph(browsed: httpx.AsyncClient) -> None:
    hit = (await browsed.post("/search", files={"image": ("red.png", RED)})).json()["hits"][0]
    image = (await browsed.get("/images", params={"id": hit["id"]})).json()
    assert {name: hit[name] for name in ("width", "height", "indexed_at", "payload")} == {
        name: image[name] for name in ("width", "height", "indexed_at", "payload")
    }
    assert hit["strength"] is None


async def test_facets_are_the_values_with_their_counts_and_conditions(browsed: httpx.AsyncClient) -> None:
    facets = {one["key"]: one for one in (await browsed.get("/facets")).json()["facets"]}
    assert [(one["value"], one["label"], one["count"]) for one in facets["camera"]["values"]] == [
        ("X100", "X100", 2),
        ("Z6", "Z6", 1),
    ]
    assert facets["camera"]["type"] == "keyword"
    assert facets["camera"]["values"][0]["condition"] == {"key": "camera", "match": "X100"}
    years = facets["taken_at"]["values"]
    assert [(one["value"], one["label"], one["count"]) for one in years] == [(2024, "2024", 2), (1999, "1999", 1)]
    for facet in facets.values():
        for one in facet["values"]:
            chosen = json.dumps({"must": [one["condition"]]})
            assert (await browsed.get("/images", params={"filter": chosen})).json()["total"] == one["count"]


async def test_facets_count_what_the_filter_matches(browsed: httpx.AsyncClient) -> None:
    chosen = json.dumps({"must": [{"key": "camera", "match": "Z6"}]})
    facets = (await browsed.get("/facets", params={"filter": chosen})).json()["facets"]
    assert {one["key"]: [value["value"] for value in one["values"]] for one in facets} == {
        "folder": ["a"],
        "file_name": ["3.jpg"],
        "camera": ["Z6"],
        "taken_at": [1999],
    }


async def test_values_of_single_images_and_values_over_the_limit_are_left_out(browsed: httpx.AsyncClient) -> None:
    facets = {one["key"]: one["values"] for one in (await browsed.get("/facets", params={"limit": 2})).json()["facets"]}
    assert set(facets) == {"folder", "camera", "taken_at"}
    one = {one["key"]: one["values"] for one in (await browsed.get("/facets", params={"limit": 1})).json()["facets"]}
    assert [value["value"] for value in one["taken_at"]] == [2024]
    require_problem(await browsed.get("/facets", params={"limit": MAX_LIMIT + 1}), 422, "parameter_invalid", "limit")


async def test_integers_and_booleans_are_values_as_well(service: QueryService, gallery: MemoryGalleryStore) -> None:
    await gallery.upsert([make_point("one", tiny_embedding((9, 9, 9)), {"warm": False, "year": 1})])
    store = StoreSettings(url="", payload_schema={"warm": "bool", "year": "integer", "at": "geo"})
    settings = service.settings.model_copy(update={"store": store})
    async with QueryService(settings, service.manifest).running(gallery) as client:
        facets = (await client.get("/facets")).json()["facets"]
    found = [
        (one["key"], [(value["value"], value["label"], value["count"]) for value in one["values"]]) for one in facets
    ]
    assert found == [("warm", [(False, "false", 4), (True, "true", 1)]), ("year", [(1, "1", 1)])]


async def test_a_thumbnail_is_shown_again_without_a_request(browsed: httpx.AsyncClient) -> None:
    answer = await browsed.get("/thumbnails", params={"id": "a/1.jpg"})
    assert "max-age=3600" in answer.headers["cache-control"]
    again = await browsed.get(
        "/thumbnails", params={"id": "a/1.jpg"}, headers={"If-None-Match": answer.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


async def test_an_original_is_sent_whole_in_part_or_not_again(browsed: httpx.AsyncClient) -> None:
    answer = await browsed.get("/originals", params={"id": "a/1.jpg"})
    assert answer.content == RED
    assert answer.headers["content-type"] == "image/png"  # by its content, whatever its name
    assert answer.headers["content-disposition"].startswith("inline")
    assert answer.headers["x-content-type-options"] == "nosniff"
    part = await browsed.get("/originals", params={"id": "a/1.jpg"}, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, RED[1:4])
    again = await browsed.get("/originals", params={"id": "a/1.jpg"}, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = {"If-None-Match": f'"x{answer.headers["etag"][1:-1]}"'}
    assert (await browsed.get("/originals", params={"id": "a/1.jpg"}, headers=other)).content == RED
    download = await browsed.get("/originals", params={"id": "a/1.jpg", "download": 1})
    assert download.headers["content-disposition"] == "attachment; filename*=UTF-8''1.jpg"


async def test_a_file_that_browsers_might_run_is_a_download(browsed: httpx.AsyncClient) -> None:
    answer = await browsed.get("/originals", params={"id": "a/2.jpg"})
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_an_original_that_is_not_there_is_reported(browsed: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    for missing in ("a/3.jpg", "a", "nobody"):
        require_problem(await browsed.get("/originals", params={"id": missing}), 404, "image_not_found", missing)
    require_problem(await client.get("/originals", params={"id": "red"}), 404, "image_not_found", "red")


async def test_an_original_that_may_not_be_read_is_reported(
    browsed: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_file(path: Path, mode: str) -> None:
        raise PermissionError(f"{mode} {path}")

    monkeypatch.setattr(Path, "open", open_file)  # as root, every file can be read
    answer = await browsed.get("/originals", params={"id": "a/1.jpg"})
    require_problem(answer, 404, "image_not_found", "a/1.jpg")


def test_no_id_leads_out_of_the_directory_of_originals(tmp_path: Path) -> None:
    directory = tmp_path / "photos"
    (directory / "sub").mkdir(parents=True)
    inside, outside = directory / "sub" / "Zürich.jpg", tmp_path / "secret.jpg"
    for file in (inside, outside):
        file.write_bytes(b"data")
    (directory / "link.jpg").symlink_to(outside)
    (directory / "loop.jpg").symlink_to(directory / "loop.jpg")
    (directory / "up").symlink_to(tmp_path)
    (directory / "within.jpg").symlink_to(inside)
    assert find_original(directory, "sub/Zürich.jpg") == inside
    assert find_original(directory, "sub/Zu\u0308rich.jpg") == inside
    assert find_original(directory, "within.jpg") == inside
    for item_id in ("../secret.jpg", str(outside), "link.jpg", "up/secret.jpg", "loop.jpg", "a\0b", "sub", "x" * 5000):
        assert find_original(directory, item_id) is None


async def test_the_page_reads_its_settings_without_a_key(browsed: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    config = (await browsed.get("/page/config.json")).json()
    assert (config["indexer"], config["originals"], config["max_limit"]) == ("/indexer", True, MAX_LIMIT)
    assert config["schema"] == {
        "folder": "keyword",
        "file_name": "keyword",
        "taken_at": "datetime",
        "camera": "keyword",
    }
    plain = (await client.get("/page/config.json")).json()
    assert (plain["indexer"], plain["originals"]) == (None, False)


@pytest.mark.parametrize("url", ["ftp://host", "//host/indexer", "indexer", "http://"])
def test_an_address_of_the_indexer_is_a_url_or_a_path(url: str) -> None:
    with pytest.raises(ValidationError):
        QuerySettings(page_indexer_url=url)
    assert QuerySettings(page_indexer_url="https://host/indexer/").page_indexer_url == "https://host/indexer"


async def test_a_hit_has_the_strength_of_its_score(service: QueryService, gallery: MemoryGalleryStore) -> None:
    levels = ScoreLevels(same=0.99, likely=-0.5, protocol="dev", queries=1, gallery=4)
    directory = service.settings.bundle_path
    write_manifest(directory, service.manifest.model_copy(update={"score_levels": levels}))
    async with service.running(gallery) as client:
        answer = (await client.post("/search", params={"limit": 4}, files={"image": ("red.png", RED)})).json()
        similar = (await client.post("/search/similar", params={"id": "red", "limit": 3})).json()
    assert answer["fingerprint"] == service.manifest.fingerprint
    for hit in answer["hits"] + similar["hits"]:
        assert hit["strength"] == levels.strength(hit["score"])
    assert answer["hits"][0]["strength"] == "same"
